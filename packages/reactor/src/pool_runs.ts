import {
  type CloseReason,
  causedByPeer,
  type ErrorEnvelope,
  failureFromEnvelope,
  MultireactorError,
  replyFlag,
} from '@multireactor/addon'
import { type Allocate, GrowingBytes } from './waiting_bytes.js'

/** The peer decides when its connection closes: a promise that rejects because of it, and is not awaited, must not end the thread. */
export function ignorable<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

/** The failure that a worker sent for a run. */
export function runFailure(bytes: Buffer, flags: number): Error {
  if (flags & replyFlag.overloaded)
    return new MultireactorError('ERR_MR_OVERLOADED', 'the frame waited longer than maxWaitMs in the task queue')
  if (flags & replyFlag.timedOut) return new MultireactorError('ERR_MR_TASK_TIMEOUT', 'the frame ran longer than taskTimeoutMs')
  if (flags & replyFlag.lost || bytes.length === 0)
    return new MultireactorError('ERR_MR_TASK_LOST', 'the pool worker died while it worked on this frame')
  return failureFromEnvelope(JSON.parse(bytes.toString()) as ErrorEnvelope)
}

interface PoolRun {
  call: string
  parts: GrowingBytes | undefined
  resolve(bytes: Buffer): void
  reject(error: Error): void
}

/** Results of `conn.run` and `conn.runTask` that have not come yet, by the number of the run. */
export class PoolRuns {
  readonly #runs = new Map<number, PoolRun>()
  readonly #allocate: Allocate

  constructor(allocate: Allocate) {
    this.#allocate = allocate
  }

  add(number: number, call: string): Promise<Buffer> {
    return ignorable(new Promise((resolve, reject) => this.#runs.set(number, { call, parts: undefined, resolve, reject })))
  }

  /** One part of a result. True: it was the last one. */
  settle(number: number, flags: number, bytes: Buffer): boolean {
    const run = this.#runs.get(number)
    if (!run) return false
    if (flags & replyFlag.error) {
      run.reject(runFailure(bytes, flags))
    } else if (!(flags & replyFlag.last)) {
      run.parts ??= new GrowingBytes(this.#allocate, Infinity)
      run.parts.push(bytes)
      return false
    } else if (run.parts) {
      run.parts.push(bytes)
      run.resolve(run.parts.bytes)
    } else {
      run.resolve(bytes)
    }
    this.#runs.delete(number)
    return true
  }

  /** The connection of a run has closed. */
  closed(number: number, reason: CloseReason): void {
    const run = this.#runs.get(number)
    this.#runs.delete(number)
    if (!run) return
    const message = `${run.call}: the connection closed (${reason}) before the result came`
    run.reject(causedByPeer(new MultireactorError('ERR_MR_CONNECTION_CLOSED', message)))
  }
}
