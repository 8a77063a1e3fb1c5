import { MultireactorError } from '@multireactor/addon'
import type { FrameLoop, FrameWork } from './frame_loop.js'
import { type Bytes, isBytes, notAReply, TaskContext } from './task_context.js'

/** Bytes of a streamed reply on their way to the socket before its writer waits. */
const streamWindow = 64 << 10

/** One frame that has been started and not settled. */
export class RunningFrame {
  readonly token: number
  readonly bytes: Buffer
  readonly listener: string
  readonly sequence: number
  readonly #flags: number
  work: FrameWork | undefined
  settled = false
  failing = false
  ends = false
  deadline = 0
  /** The native side knows that its promise is pending. */
  held = false
  readonly low: number
  readonly high: number
  readonly #loop: FrameLoop
  #id: bigint | undefined
  #abort: AbortController | undefined
  #stream = 0
  #outstanding = 0
  #gone = false
  #waiting: { resolve(): void; reject(error: Error): void }[] | undefined
  #context: TaskContext | undefined
  #peer: [string, number] | undefined

  /** `low` and `high` are the two halves of what names the connection; what they are is the loop's business. */
  constructor(
    loop: FrameLoop,
    token: number,
    bytes: Buffer,
    listener: string,
    sequence: number,
    flags: number,
    low: number,
    high: number,
  ) {
    this.#loop = loop
    this.token = token
    this.bytes = bytes
    this.listener = listener
    this.sequence = sequence
    this.#flags = flags
    this.low = low
    this.high = high
  }

  get attempt(): number {
    return this.#flags >>> 8
  }

  /** Its result goes to a caller, not to a connection. */
  get isCall(): boolean {
    return (this.#flags & 1) !== 0
  }

  /** What the worker function sees of it. */
  get context(): TaskContext {
    this.#context ??= new TaskContext(this)
    return this.#context
  }

  /** Whether more than bytes is to be said with the reply. */
  get isSpecial(): boolean {
    return this.settled || this.ends || this.#stream !== 0 || this.#abort !== undefined
  }

  get connection(): bigint {
    this.#id ??= this.#loop.idOf(this)
    return this.#id
  }

  get peer(): [string, number] | undefined {
    if (!this.settled) this.#peer ??= this.#loop.peerOf(this)
    return this.#peer
  }

  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController()
      if (!this.settled) this.#loop.watch(this)
    }
    return this.#abort.signal
  }

  abort(reason: Error): void {
    this.#abort?.abort(reason)
  }

  write(part: Bytes): Promise<void> {
    if (!isBytes(part)) return Promise.reject(notAReply(part))
    if (this.settled || this.#gone) {
      return Promise.reject(
        new MultireactorError('ERR_MR_CONNECTION_CLOSED', 'ctx.write(): the reply is complete or the connection is closed'),
      )
    }
    const size = Buffer.byteLength(part as string)
    if (size === 0) return Promise.resolve()
    if (this.#stream === 0) this.#stream = this.#loop.openStream(this)
    this.#outstanding += size
    this.#loop.sendPart(this, this.#stream, part, size)
    if (this.#outstanding <= streamWindow) return Promise.resolve()
    this.#waiting ??= []
    const waiting = this.#waiting
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }))
  }

  credit(amount: number, gone: boolean): void {
    this.#outstanding -= amount
    if (gone) {
      this.#gone = true
      const error = new MultireactorError('ERR_MR_CONNECTION_CLOSED', 'ctx.write(): the connection is closed')
      this.abort(error)
      for (const { reject } of this.#takeWaiting()) reject(error)
    } else if (this.#outstanding <= streamWindow / 2) {
      for (const { resolve } of this.#takeWaiting()) resolve()
    }
  }

  #takeWaiting(): { resolve(): void; reject(error: Error): void }[] {
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    return waiting
  }

  endAfter(): void {
    this.ends = true
  }

  destroy(_reason: unknown): void {
    this.#loop.destroyConnection(this)
  }

  report(error: unknown): void {
    this.#loop.report(error, this.listener)
  }

  /** Settled: nothing names it any more. */
  release(): void {
    if (this.#stream !== 0) this.#loop.closeStream(this.#stream)
    if (this.#abort) this.#loop.unwatch(this)
    if (this.#waiting) for (const { resolve } of this.#takeWaiting()) resolve()
  }
}
