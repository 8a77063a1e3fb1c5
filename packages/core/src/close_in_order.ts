import { within } from '@multireactor/pool/group'
import type { ReactorGroup } from './reactor_group.js'
import type { ServerPool } from './server_pool.js'
import type { CloseResult } from './server_types.js'
import type { ServerWatches } from './server_watches.js'

/** How long a thread may take to answer before it counts as stuck, beside the time that was asked for. */
const stuckMs = 1_000

/** How long a peer may take to finish after us, or, after a hot restart, to send the request it has connected for. */
const mostLingerMs = 2_000

export interface ClosingParts {
  reactors: ReactorGroup
  pool: ServerPool
  watches: ServerWatches
  /** Closes the control socket. Whether a successor shares the listeners. */
  leavesListeners: () => boolean
  openConnections: () => number
}

/** Answers the frames in flight, closes the connections, and ends the threads' work; the threads themselves may still run. */
export async function closeInOrder(parts: ClosingParts, timeoutMs: number): Promise<CloseResult> {
  const { reactors, pool, watches, leavesListeners, openConnections } = parts
  const before = watches.repliesWritten()
  const shedBefore = watches.framesShed()
  let destroyed = 0
  reactors.beginClose()
  const lingerMs = Math.min(timeoutMs, mostLingerMs)
  // Connections queued on sockets that a successor shares belong to the successor. All of them leave before any of them drains: then
  // the connections accepted for each other have arrived then.
  if (leavesListeners()) await within(reactors.requestAll('leaveListeners', lingerMs), stuckMs)
  const timer = setTimeout(async () => {
    for (const result of await reactors.requestAll('destroyAll')) {
      if (result.status === 'fulfilled') destroyed += result.value as number
    }
  }, timeoutMs)
  const drained = reactors.requestAll('drain', lingerMs)
  // A reactor that is stuck in a hook answers nothing: it is ended, and its connections with it. So are those without a thread.
  const inTime = await within(drained, timeoutMs + stuckMs)
  const unanswered = inTime && (await drained).some(({ status }) => status === 'rejected')
  if (!inTime || unanswered) destroyed += openConnections()
  clearTimeout(timer)
  const answered = watches.repliesWritten() - before
  const shed = watches.framesShed() - shedBefore
  watches.tellShed()
  await within(reactors.requestAll('stop'), stuckMs)
  await pool.close(timeoutMs)
  return { answered, destroyed, shed }
}
