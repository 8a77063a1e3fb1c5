import { Buffer } from 'node:buffer'
import { causedByPeer, frameAttemptShift, frameFlag, isBytes, MultireactorError } from '@multireactor/addon'
import type { FrameListener, FrameLoop, FrameWork } from './frame_loop.js'
import { type Bytes, notAReply, TaskContext } from './task_context.js'

/** Bytes of a streamed reply on their way to the socket before its writer waits. */
const streamWindow = 64 << 10

interface Waiting {
  resolve(): void
  reject(error: Error): void
}

/** Rarely used fields of a frame: made on first use, so that other frames do not pay for them. */
class Extras {
  id: bigint | undefined = undefined
  peer: [string, number] | undefined = undefined
  abort: AbortController | undefined = undefined
  stream = 0
  outstanding = 0
  gone = false
  waiting: Waiting[] | undefined = undefined
}

/** One frame that has been started and not settled. */
export class RunningFrame {
  // Only declared, and set in the constructor: initialising fields is a call of its own, for each frame.
  declare readonly token: number
  declare readonly bytes: Buffer
  declare readonly listener: FrameListener
  declare readonly sequence: number
  declare readonly low: number
  declare readonly high: number
  declare work: FrameWork | undefined
  declare settled: boolean
  declare failing: boolean
  declare ends: boolean
  declare deadline: number
  /** The native side knows that its promise is pending. */
  declare held: boolean
  declare private readonly loop: FrameLoop
  declare private readonly flags: number
  declare private extras: Extras | undefined
  declare private ctx: TaskContext | undefined

  /** `low` and `high` are the two halves of the connection's name; only the loop interprets them. */
  constructor(
    loop: FrameLoop,
    token: number,
    bytes: Buffer,
    listener: FrameListener,
    sequence: number,
    flags: number,
    low: number,
    high: number,
  ) {
    this.token = token
    this.bytes = bytes
    this.listener = listener
    this.sequence = sequence
    this.low = low
    this.high = high
    this.work = undefined
    this.settled = false
    this.failing = false
    this.ends = false
    this.deadline = 0
    this.held = false
    this.loop = loop
    this.flags = flags
    this.extras = undefined
    this.ctx = undefined
  }

  get attempt(): number {
    return this.flags >>> frameAttemptShift
  }

  /** Its result goes to a caller, not to a connection. */
  get isRun(): boolean {
    return (this.flags & frameFlag.run) !== 0
  }

  /** Its bytes are a serialized value, and so is its result. */
  get isValue(): boolean {
    return (this.flags & frameFlag.value) !== 0
  }

  /** The frame's context, as the worker function sees it. */
  get context(): TaskContext {
    this.ctx ??= new TaskContext(this)
    return this.ctx
  }

  /** Whether more than bytes is to be said with the reply. */
  get isSpecial(): boolean {
    return (
      this.settled || this.ends || (this.extras !== undefined && (this.extras.stream !== 0 || this.extras.abort !== undefined))
    )
  }

  get connection(): bigint {
    const extras = this.needExtras()
    extras.id ??= this.loop.idOf(this)
    return extras.id
  }

  get peer(): [string, number] | undefined {
    const extras = this.needExtras()
    if (!this.settled) extras.peer ??= this.loop.peerOf(this)
    return extras.peer
  }

  get signal(): AbortSignal {
    const extras = this.needExtras()
    if (!extras.abort) {
      extras.abort = new AbortController()
      if (!this.settled) this.loop.watch(this)
    }
    return extras.abort.signal
  }

  abort(reason: Error): void {
    this.extras?.abort?.abort(reason)
  }

  write(part: Bytes): Promise<void> {
    if (!isBytes(part)) return Promise.reject(notAReply(part))
    if (this.isValue) return Promise.reject(isNoStream())
    const extras = this.needExtras()
    if (this.settled || extras.gone) {
      return ignorable(Promise.reject(extras.gone ? connectionIsGone() : replyIsComplete()))
    }
    const size = Buffer.byteLength(part as string)
    if (size === 0) return Promise.resolve()
    if (extras.stream === 0) extras.stream = this.loop.openStream(this)
    extras.outstanding += size
    this.loop.sendPart(this, extras.stream, part, size)
    if (extras.outstanding <= streamWindow) return Promise.resolve()
    extras.waiting ??= []
    const { waiting } = extras
    return ignorable(new Promise((resolve, reject) => waiting.push({ resolve, reject })))
  }

  credit(amount: number, gone: boolean): void {
    const extras = this.needExtras()
    extras.outstanding -= amount
    if (gone) {
      extras.gone = true
      const error = connectionIsGone()
      this.abort(error)
      for (const { reject } of takeWaiting(extras)) reject(error)
    } else if (extras.outstanding <= streamWindow / 2) {
      for (const { resolve } of takeWaiting(extras)) resolve()
    }
  }

  allocate(bytes: number): Buffer {
    return this.loop.allocate(bytes)
  }

  endAfter(): void {
    this.ends = true
  }

  destroy(_reason: unknown): void {
    this.loop.destroyConnection(this)
  }

  report(error: unknown): void {
    this.loop.report(error, this.listener.name)
  }

  /** Settled: nothing names it any more. */
  release(): void {
    const { extras } = this
    if (extras === undefined) return
    if (extras.stream !== 0) this.loop.closeStream(extras.stream)
    if (extras.abort) this.loop.unwatch(this)
    if (extras.waiting) for (const { resolve } of takeWaiting(extras)) resolve()
  }

  // Not a `#` method: those put a brand on every object, which is such a call again.
  private needExtras(): Extras {
    this.extras ??= new Extras()
    return this.extras
  }
}

function connectionIsGone(): Error {
  return causedByPeer(new MultireactorError('ERR_MR_CONNECTION_CLOSED', 'ctx.write(): the connection is closed'))
}

function isNoStream(): Error {
  return new MultireactorError(
    'ERR_MR_STATE',
    'ctx.write(): task() answers with one value: return it, or hand the work to parse with run()',
  )
}

function replyIsComplete(): Error {
  return new MultireactorError('ERR_MR_CONNECTION_CLOSED', 'ctx.write(): the reply is complete or the connection is closed')
}

/** The peer decides when its connection closes: a write that rejects because of it, without an `await`, must not end the thread. */
function ignorable(promise: Promise<void>): Promise<void> {
  promise.catch(() => {})
  return promise
}

function takeWaiting(extras: Extras): Waiting[] {
  const waiting = extras.waiting ?? []
  extras.waiting = undefined
  return waiting
}
