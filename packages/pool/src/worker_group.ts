import type { WorkerOptions } from 'node:worker_threads'
import { native } from '@multireactor/addon'
import { Thread } from './thread.js'

export interface Replaced {
  index: number
  /** `'exit'`: it ended by itself; `'timeout'`: it was ended because a frame ran too long. */
  reason: 'exit' | 'timeout'
  error: Error | undefined
  /** What became of its frames. */
  requeued: number
  retried: number
  lost: number
}

export interface WorkerGroupOptions {
  runtime: number
  size: number
  entry: URL
  threadOptions: (index: number) => WorkerOptions
  taskTimeoutMs: number
  /** Whether the process goes on while the threads only wait. */
  keepsAlive: boolean
  /** May a frame whose worker died run once more? */
  retry: boolean
  onEvent: (index: number, name: string, value: unknown) => void
  onReplaced: (replaced: Replaced) => void
  /** A replacement did not start; another one follows. */
  onStartFailed: (index: number, error: Error) => void
}

/** A busy machine may run a thread's timer this late, although the thread turns. */
const leastGraceMs = 250
const firstBackoffMs = 50
const mostBackoffMs = 5_000

/** The threads of a pool: starts them, ends those that do not turn any more, replaces those that died. */
export class WorkerGroup {
  readonly #options: WorkerGroupOptions
  readonly #threads: (Thread | undefined)[] = []
  readonly #timedOut = new Set<number>()
  readonly #backoff: NodeJS.Timeout[] = []
  #watch: NodeJS.Timeout | undefined
  #closing = false

  constructor(options: WorkerGroupOptions) {
    this.#options = options
  }

  /** Resolves to what the first thread said of itself when all have started; rejects, and ends all, when one fails to. */
  async start(): Promise<unknown> {
    for (let i = 0; i < this.#options.size; i++) this.#threads[i] = this.#spawn(i)
    const started = await Promise.allSettled(this.#threads.map((thread) => thread!.ready))
    const failure = started.find((one) => one.status === 'rejected')
    if (failure) {
      await this.terminate()
      throw failure.reason
    }
    this.#threads.forEach((thread, i) => {
      this.#supervise(i, thread!, 0)
    })
    // Twice within the time limit, at most once a second: see endStuck for when a worker is ended.
    const every = Math.max(10, Math.min(1_000, this.#options.taskTimeoutMs / 2))
    this.#watch = setInterval(() => this.#endStuck(), every).unref()
    return started[0]?.status === 'fulfilled' ? started[0].value : undefined
  }

  /** Asks every living thread. */
  async request(name: string, value?: unknown): Promise<unknown[]> {
    return Promise.all(this.#threads.map((thread) => thread?.request(name, value)))
  }

  /** Lets the threads run their stop hooks, for at most `timeoutMs`, then ends them. */
  async close(timeoutMs: number): Promise<void> {
    this.#closing = true
    clearInterval(this.#watch)
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs)
    })
    await Promise.race([this.request('stop').catch(() => {}), late])
    clearTimeout(timer)
    await this.terminate()
  }

  async terminate(): Promise<void> {
    this.#closing = true
    clearInterval(this.#watch)
    for (const timer of this.#backoff) clearTimeout(timer)
    await Promise.all(this.#threads.map((thread) => thread?.terminate()))
  }

  #spawn(index: number): Thread {
    const { entry, threadOptions, onEvent, keepsAlive } = this.#options
    const thread = new Thread(entry, threadOptions(index), (name, value) => onEvent(index, name, value))
    // A thread that is still starting is waited for.
    if (!keepsAlive) void thread.ready.catch(() => {}).finally(() => thread.unref())
    return thread
  }

  #supervise(index: number, thread: Thread, failures: number): void {
    void thread.exited.then(({ error }) => {
      const reason = this.#timedOut.delete(index) ? 'timeout' : 'exit'
      if (this.#closing) return
      const reaped = native.reapWorker(this.#options.runtime, index, this.#options.retry, reason === 'timeout')
      this.#threads[index] = undefined
      this.#replace(index, failures)
      this.#options.onReplaced({ index, reason, error, ...reaped })
    })
  }

  #replace(index: number, failures: number): void {
    const delay = failures === 0 ? 0 : Math.min(firstBackoffMs * 2 ** (failures - 1), mostBackoffMs)
    this.#backoff[index] = setTimeout(() => {
      if (this.#closing) return
      const thread = this.#spawn(index)
      this.#threads[index] = thread
      thread.ready.then(
        () => this.#supervise(index, thread, 0),
        async (error: Error) => {
          await thread.terminate()
          if (this.#closing) return
          this.#threads[index] = undefined
          this.#options.onStartFailed(index, error)
          this.#replace(index, failures + 1)
        },
      )
    }, delay)
  }

  #endStuck(): void {
    for (let index = 0; index < this.#threads.length; index++) {
      const thread = this.#threads[index]
      if (!thread || this.#timedOut.has(index)) continue
      // An asynchronous frame that is late errs alone, in its own thread; a quarter more means that the thread does not turn.
      const { runtime, taskTimeoutMs } = this.#options
      if (native.runningMs(runtime, index) < taskTimeoutMs + Math.max(taskTimeoutMs / 4, leastGraceMs)) continue
      this.#timedOut.add(index)
      void thread.terminate()
    }
  }
}
