/**
 * Bytes that a peer may send behind the last thing that is served, and that are thrown away: what is under way when it sees our answer,
 * and no more. The same as `kMostDiscarded` of the reactor.
 */
export const mostDiscarded: number = 16 << 20
