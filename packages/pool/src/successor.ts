import type { Thread } from './thread.js'
import { within } from './thread.js'

/** How long the stop hooks of a thread that was never needed may take. */
const stopMs = 1_000

/**
 * The thread that takes the place of the next one that dies. It is started ahead, behind the pause that the deaths of its place ask for,
 * so that the work of others waits neither for that pause nor for the app to load. Without deaths for a while it is ended.
 */
export class Successor {
  readonly #spawn: () => Thread
  readonly #keptMs: number
  #thread: Thread | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(spawn: () => Thread, keptMs: number) {
    this.#spawn = spawn
    this.#keptMs = keptMs
  }

  /** Starts it, `pauseMs` from now. */
  prepare(pauseMs: number): void {
    clearTimeout(this.#timer)
    if (this.#thread) return
    this.#timer = setTimeout(() => {
      let thread: Thread
      try {
        thread = this.#spawn()
      } catch {
        // No room for a thread now, or the group has closed: the next death starts one itself, and says why it cannot.
        return
      }
      this.#thread = thread
      // The place is empty again for the next one. A thread that has taken it meanwhile ends by itself.
      const lost = (): void => {
        if (this.#thread !== thread) return
        this.#thread = undefined
        void thread.terminate()
      }
      thread.ready.catch(lost)
      void thread.exited.then(lost)
      this.#timer = setTimeout(() => void this.end(), this.#keptMs).unref()
    }, pauseMs).unref()
  }

  /** The thread, ready or still starting, if there is one. */
  take(): Thread | undefined {
    clearTimeout(this.#timer)
    const thread = this.#thread
    this.#thread = undefined
    return thread
  }

  /** The same without taking it. */
  get thread(): Thread | undefined {
    return this.#thread
  }

  /** It is not needed, or its code is old. */
  async end(): Promise<void> {
    const thread = this.take()
    if (!thread) return
    await within(
      thread.ready.then(() => thread.request('stop')),
      stopMs,
    )
    await thread.terminate()
  }
}
