import { isMainThread, parentPort, type TransferListItem, Worker, type WorkerOptions } from 'node:worker_threads'
import { type ErrorEnvelope, failureFromEnvelope, MultireactorError, outliveOutput, toEnvelope } from '@multireactor/addon'
import { isPaused } from './paused.js'

/** Messages between a thread of ours and its parent, beside those of their roles. */
type ToParent =
  | { type: 'ready'; description: unknown }
  | { type: 'failed'; error: ErrorEnvelope }
  | { type: 'answer'; request: number; value?: unknown; error?: ErrorEnvelope }
  | { type: 'event'; name: string; value: unknown }
interface ToThread {
  type: 'request'
  request: number
  name: string
  value: unknown
}

/**
 * A worker_thread with a handshake: `ready` once its entry has started, requests with answers, and an end that is always
 * noticed. Restarting it is its owner's business.
 */
export class Thread {
  /** Resolves to the thread's start result; rejects when it failed to start. */
  readonly ready: Promise<unknown>
  /** Resolves when the thread is gone, to the error that ended it, if there was one. */
  readonly exited: Promise<{ code: number; error: Error | undefined }>
  readonly #worker: Worker
  readonly #id: number
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  #requests = 0
  #gone = false

  constructor(entry: URL, options: WorkerOptions, onEvent: (name: string, value: unknown) => void, startTimeoutMs: number) {
    this.#worker = new Worker(entry, { ...options, stdout: true, stderr: true })
    this.#forwardOutput()
    this.#id = this.#worker.threadId
    const who = `thread ${options.name ?? ''}`
    let error: Error | undefined
    let isReady = false
    let started!: (description: unknown) => void
    let failed!: (error: Error) => void
    this.ready = new Promise((resolve, reject) => {
      started = resolve
      failed = reject
    })
    this.ready.catch(() => {})
    let limit: NodeJS.Timeout
    const expire = async (): Promise<void> => {
      if (await this.isPaused()) return arm()
      if (isReady || this.#gone) return
      failed(
        new MultireactorError(
          'ERR_MR_START_TIMEOUT',
          `the ${who} has not started within ${startTimeoutMs} ms: a top-level await of its module, or a start hook, has not settled. startTimeoutMs sets the limit`,
        ),
      )
      void this.terminate()
    }
    const arm = (): void => {
      if (!isReady && !this.#gone) limit = setTimeout(expire, startTimeoutMs).unref()
    }
    arm()
    this.#worker.on('message', (message: ToParent) => {
      if (message.type === 'ready') {
        isReady = true
        clearTimeout(limit)
        started(message.description)
      } else if (message.type === 'failed') failed(failureFromEnvelope(message.error))
      else if (message.type === 'event') onEvent(message.name, message.value)
      else this.#answer(message)
    })
    this.#worker.on('error', (cause: Error) => {
      error = cause
    })
    this.exited = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        this.#gone = true
        clearTimeout(limit)
        const during = isReady
          ? ''
          : ' while it started: its module or a start hook has called process.exit, or awaits a promise that cannot settle any more'
        const lost = new MultireactorError('ERR_MR_THREAD_LOST', `the ${who} ended with code ${code}${during}`, { cause: error })
        failed(error ?? lost)
        for (const { reject } of this.#waiting.values()) reject(lost)
        this.#waiting.clear()
        resolve({ code, error })
      })
    })
  }

  /** Forwards the thread's output to the process. Not by `pipe`, which stops for good at the first line that cannot be written. */
  #forwardOutput(): void {
    outliveOutput()
    for (const name of ['stdout', 'stderr'] as const) {
      this.#worker[name].on('data', (chunk: Uint8Array) => process[name].write(chunk))
    }
  }

  /** Asks the thread for something and resolves to its answer; rejects when it ends before. */
  request(name: string, value?: unknown, transfer: TransferListItem[] = []): Promise<unknown> {
    if (this.#gone) return Promise.reject(new MultireactorError('ERR_MR_THREAD_LOST', 'the thread has ended'))
    const request = ++this.#requests
    return new Promise((resolve, reject) => {
      this.#waiting.set(request, { resolve, reject })
      this.#worker.postMessage({ type: 'request', request, name, value } satisfies ToThread, transfer)
    })
  }

  /**
   * Puts a thread that has loaded to its work: its request `attach`. A thread that does not answer within `withinMs` does not turn; it is
   * ended, unless a debugger holds it. Rejects when the thread ends before it has answered.
   */
  async attach(value: unknown, withinMs: number): Promise<void> {
    const attached = this.request('attach', value)
    while (!(await within(attached, withinMs))) {
      if (!(await this.isPaused())) await this.terminate()
    }
    await attached
  }

  /** Whether a debugger holds it at a breakpoint. Asked before it is ended for not coming back. */
  isPaused(): Promise<boolean> {
    return this.#gone ? Promise.resolve(false) : isPaused(this.#id)
  }

  /** Lets the process end although the thread runs. */
  unref(): void {
    this.#worker.unref()
  }

  async terminate(): Promise<void> {
    this.#worker.ref() // the caller that ends it waits for the end
    await this.#worker.terminate()
    await this.exited
  }

  #answer(message: ToParent & { type: 'answer' }): void {
    const waiting = this.#waiting.get(message.request)
    this.#waiting.delete(message.request)
    if (message.error) waiting?.reject(failureFromEnvelope(message.error))
    else waiting?.resolve(message.value)
  }
}

/** Waits until all have started, and returns their start results. Rejects, and ends all, as soon as one fails to. */
export async function started(threads: readonly Thread[]): Promise<unknown[]> {
  try {
    return await Promise.all(threads.map((thread) => thread.ready))
  } catch (error) {
    await Promise.all(threads.map((thread) => thread.terminate()))
    throw error
  }
}

/** Whether a promise settles in time, whichever way. */
export async function within(promise: Promise<unknown>, milliseconds: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), milliseconds)
  })
  const done = promise.then(
    () => true,
    () => true,
  )
  const inTime = await Promise.race([done, late])
  clearTimeout(timer)
  return inTime
}

/** The thread's side of `Thread`. */
export interface ThreadSide {
  /** Says something to the parent that is no answer. */
  event(name: string, value: unknown): void
}

/**
 * Runs a thread's entry: `start` returns the value for the parent's `ready`, and the requests that the thread answers. Call it once, at the
 * top of the entry module.
 */
export async function runThread(
  start: (side: ThreadSide) => Promise<{ description: unknown; requests: Record<string, (value: never) => unknown> }>,
): Promise<void> {
  if (isMainThread || !parentPort)
    throw new MultireactorError('ERR_MR_WRONG_THREAD', 'this module is the entry of a worker thread, not a program')
  const port = parentPort
  const say = (message: ToParent): void => port.postMessage(message)
  try {
    const { description, requests } = await start({ event: (name, value) => say({ type: 'event', name, value }) })
    port.on('message', async ({ request, name, value }: ToThread) => {
      try {
        say({ type: 'answer', request, value: await requests[name]?.(value as never) })
      } catch (error) {
        say({ type: 'answer', request, error: toEnvelope(error) })
      }
    })
    say({ type: 'ready', description })
  } catch (error) {
    say({ type: 'failed', error: toEnvelope(error) })
  }
}
