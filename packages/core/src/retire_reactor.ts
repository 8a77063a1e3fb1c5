import { within } from '@multireactor/pool/group'
import type { WatchedThread } from './reactor_watch.js'

/**
 * Ends the thread of a reactor when its siblings have its connections. Whether it has handed everything over in time; then, or after the
 * connections that could not go have closed.
 */
export async function retire(member: WatchedThread, timeoutMs: number): Promise<boolean> {
  const { thread } = member
  if (!thread) return false
  let drained = false
  // A hook that does not come back keeps all of its reactor's connections, and no longer than at any other time.
  member.retiring = true
  const retired = thread.request('retire').then(
    () => {
      drained = true
    },
    () => {},
  )
  if (!(await within(retired, timeoutMs))) {
    await within(thread.request('destroyAll'), 1_000)
    await within(retired, 1_000)
  }
  member.retiring = false
  await within(thread.request('stop'), 1_000)
  await thread.terminate()
  member.thread = undefined
  return drained
}
