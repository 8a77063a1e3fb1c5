/**
 * Most bytes that are discarded from a peer behind the last served request: those under way when it sees our answer, and no more. The same as
 * `kMostDiscarded` of the reactor.
 */
export const mostDiscarded: number = 16 << 20
