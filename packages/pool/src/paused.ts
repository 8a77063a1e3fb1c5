/** A paused thread answers in milliseconds, and so does one in a loop of JavaScript. One in native code does not. */
const patienceMs = 1_000

/**
 * Whether a debugger holds this worker thread at a breakpoint: it looks like an endless loop, but must not be ended. Asks the
 * thread itself, over a debugger session of our own (the `NodeWorker` domain of the inspector): one that enables the debugger of a paused
 * thread is told of the pause, and leaves it as it is when it goes. A thread that only runs answers without that. False at once where the process has no
 * open inspector, which is nearly always; the module is not even loaded before a thread is about to be ended.
 */
export async function isPaused(threadId: number): Promise<boolean> {
  const inspector = await import('node:inspector').catch(() => undefined) // Node may be built without it
  if (inspector?.url() === undefined) return false
  const session = new inspector.Session()
  let timer: NodeJS.Timeout | undefined
  try {
    session.connect()
    return await new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), patienceMs)
      session.on('NodeWorker.attachedToWorker', ({ params: { sessionId, workerInfo } }) => {
        // The id of a thread is in its title; `workerId` counts anew in each session.
        if (!workerInfo.title.startsWith(`[worker ${threadId}]`)) return
        const message = JSON.stringify({ id: 1, method: 'Debugger.enable' })
        session.post('NodeWorker.sendMessageToWorker', { sessionId, message })
      })
      session.on('NodeWorker.receivedMessageFromWorker', ({ params: { message } }) => {
        const { id, method } = JSON.parse(message) as { id?: number; method?: string }
        if (method === 'Debugger.paused') resolve(true)
        else if (id === 1) resolve(false)
      })
      session.post('NodeWorker.enable', { waitForDebuggerOnStart: false }, (error) => {
        if (error) resolve(false)
      })
    })
  } catch {
    return false // the inspector was closed meanwhile
  } finally {
    clearTimeout(timer)
    session.disconnect()
  }
}
