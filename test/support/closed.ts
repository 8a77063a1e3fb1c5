import type { CloseReason } from '@multireactor/reactor'

interface Counting {
  stats(): { connections: { closed: Readonly<Record<CloseReason, number>> } }
}

/**
 * Resolves to how many connections closed for `reason`, as soon as there are `count`: a peer sees the end of its connection before the
 * server has seen the peer's, and counts it.
 */
export async function closedAs(server: Counting, reason: CloseReason, count: number): Promise<number> {
  const closed = () => server.stats().connections.closed[reason]
  while (closed() < count) await new Promise(setImmediate)
  return closed()
}
