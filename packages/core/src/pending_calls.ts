import { callOutcome, closedError, type ErrorEnvelope, failureFromEnvelope, MultireactorError, shown } from '@multireactor/addon'

/** Calls of one thread that wait for an answer, as many as there may be. */
const mostPending = 65_536
/** How often the time limits are looked at. */
const tickMs = 50

interface Pending {
  reactor: number
  deadline: number
  timeoutMs: number
  resolve(bytes: Buffer): void
  reject(error: Error): void
  forget: (() => void) | undefined
}

/** The outcomes of this thread's calls: one answer, one error, or a timeout for each. */
export class PendingCalls {
  readonly #pending = new Map<number, Pending>()
  readonly #onEmpty: () => void
  #timer: NodeJS.Timeout | undefined

  constructor(onEmpty: () => void) {
    this.#onEmpty = onEmpty
  }

  get size(): number {
    return this.#pending.size
  }

  checkRoom(): void {
    if (this.#pending.size < mostPending) return
    throw callsFull(`${mostPending} calls of this thread wait for their answers already`)
  }

  add(number: number, reactor: number, timeoutMs: number, signal: AbortSignal | undefined): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        reactor,
        deadline: timeoutMs === 0 ? Infinity : performance.now() + timeoutMs,
        timeoutMs,
        resolve,
        reject,
        forget: undefined,
      }
      if (signal) {
        const onAbort = () => this.#take(number)?.reject(signal.reason)
        signal.addEventListener('abort', onAbort, { once: true })
        pending.forget = () => signal.removeEventListener('abort', onAbort)
      }
      this.#pending.set(number, pending)
      this.#timer ??= setInterval(() => this.#expire(), tickMs).unref()
    })
  }

  /** The native side has an answer; a late one is dropped. */
  onOutcome(number: number, outcome: number, bytes: Buffer): void {
    const pending = this.#take(number)
    if (!pending) return
    if (outcome === callOutcome.answered) pending.resolve(bytes)
    else if (outcome === callOutcome.failed) pending.reject(failureFromEnvelope(JSON.parse(bytes.toString()) as ErrorEnvelope))
    else if (outcome === callOutcome.noHook) pending.reject(noHook())
    else if (outcome === callOutcome.noReactor) pending.reject(noReactor(pending.reactor))
    else {
      pending.reject(
        new MultireactorError(
          'ERR_MR_THREAD_LOST',
          `call(): the thread of reactor ${pending.reactor} ended while it worked on this`,
        ),
      )
    }
  }

  reject(number: number, error: unknown): void {
    this.#take(number)?.reject(error as Error)
  }

  close(): void {
    for (const number of [...this.#pending.keys()]) this.reject(number, closedError('the server'))
  }

  #take(number: number): Pending | undefined {
    const pending = this.#pending.get(number)
    if (!pending) return undefined
    pending.forget?.()
    this.#pending.delete(number)
    if (this.#pending.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
      this.#onEmpty()
    }
    return pending
  }

  #expire(): void {
    const now = performance.now()
    for (const [number, { deadline, reactor, timeoutMs }] of this.#pending) {
      if (deadline > now) continue
      this.reject(
        number,
        new MultireactorError('ERR_MR_CALL_TIMEOUT', `call(): reactor ${reactor} did not answer within ${timeoutMs} ms`),
      )
    }
  }
}

export function noHook(): MultireactorError {
  return new MultireactorError('ERR_MR_NO_HOOK', 'call(): no app of the server has an onCall hook; export one with defineApp')
}

export function noReactor(reactor: unknown): MultireactorError {
  return new MultireactorError(
    'ERR_MR_NO_REACTOR',
    `call(): the server has no running reactor ${shown(reactor)}; they are numbered from 0`,
  )
}

export function callsFull(why: string): MultireactorError {
  return new MultireactorError('ERR_MR_CALLS_FULL', `call(): ${why}; wait for some of them`)
}
