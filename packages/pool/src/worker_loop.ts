import { MultireactorError, native, type NativeWorkerDriver, replyFlag, toEnvelope } from '@multireactor/addon'
import { type Bytes, isAsyncIterable, isBytes, notAReply, type Reply, TaskContext } from './task_context.js'

/** What a worker does with frames. */
export interface FrameWork {
  parse(frame: Buffer, ctx: TaskContext): Reply | Promise<Reply>
  /** What to answer when `parse` failed. Without it the connection closes. */
  error?: ((error: unknown, frame: Buffer, ctx: TaskContext) => Reply | Promise<Reply>) | undefined
  /** What to answer for a frame that found the queue full or waited too long. Without it the connection closes. */
  overloaded?: ((frame: Buffer, ctx: TaskContext) => Reply | Promise<Reply>) | undefined
}

export interface WorkerLoopOptions {
  runtime: number
  index: number
  /** By listener number. */
  work: (listener: number) => FrameWork
  listenerName: (listener: number) => string
  /** Unsettled asynchronous frames. */
  concurrency: number
  taskTimeoutMs: number
  /** A frame failed, and no error hook or caller took the error. */
  onFailure: (error: unknown, listener: string) => void
}

const rowWords = 8
const maxBatch = 128
const slabBytes = 256 << 10
const slabLeast = 16 << 10
/** Bytes of a streamed reply on their way to the socket before its writer waits. */
const streamWindow = 64 << 10
/** After so long the thread's own timers and messages get their turn. */
const turnMs = 5
/** A timer that is later than this has waited for the thread, and so have the frames. */
const leastLateMs = 100
/** Replies of a batch leave about this often, so that at most a few quick frames wait for a slow one behind them. */
const flushMs = 0.2

const { last, end, destroy, error: failed, timedOut, overloaded } = replyFlag
/** In the flags of a row, beside the call bit. */
const refusedBit = 2

/** Takes frames from the task queue of a runtime on the current thread, runs the work, settles each frame exactly once. */
export class WorkerLoop {
  readonly driver: NativeWorkerDriver
  readonly #options: WorkerLoopOptions
  readonly #batchState: Uint32Array
  readonly #rows = new Uint32Array(maxBatch * rowWords)
  #slab = new Uint8Array(native.newSlab(slabBytes))
  #slabUsed = 0
  /** Native memory: what is settled and not handed over yet is not lost when this thread dies. */
  readonly #out: Buffer
  #outUsed = 0
  readonly #outRows: Uint32Array
  readonly #outCounter: Uint32Array
  #outCount = 0
  #batchStarted = 0
  #batchOpen = false
  #running = false
  #closed = false
  #flushAsked = false
  /** Frames whose promise is pending, in the order in which they run out of time. */
  readonly #pending = new Set<RunningFrame>()
  readonly #streams = new Map<number, RunningFrame>()
  readonly #watching = new Map<bigint, Set<RunningFrame>>()
  // Not from 1: a credit for the last owner of this slot must not look like one of ours.
  #nextStream = 1 + Math.floor(Math.random() * 0x3fff_ffff)
  #onDrained: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  #timerDue = 0

  constructor(options: WorkerLoopOptions) {
    this.#options = options
    this.driver = new native.WorkerDriver(
      options.runtime,
      options.index,
      () => this.#run(),
      (stream, amount, gone) => this.#streams.get(stream)?.credit(amount, gone),
      (id) => this.#connectionGone(id),
    )
    this.#batchState = this.driver.batchState
    const { outBytes, outRows, outCount } = this.driver
    this.#out = Buffer.from(outBytes.buffer, outBytes.byteOffset, outBytes.byteLength)
    this.#outRows = outRows
    this.#outCounter = outCount
    setImmediate(() => this.#run())
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    this.driver.close()
  }

  /** Takes nothing more, finishes what it has claimed, and closes. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#onDrained = resolve
      this.#run()
    })
  }

  get taskTimeoutMs(): number {
    return this.#options.taskTimeoutMs
  }

  // ---------------------------------------------------------------- taking

  #run(): void {
    if (this.#running || this.#closed) return
    this.#running = true
    const began = performance.now()
    for (;;) {
      const room = this.#options.concurrency - this.#pending.size
      if (room <= 0) {
        // Nothing new is started; settling one of the pending frames comes back here.
        this.#flush()
        this.driver.park(false)
        break
      }
      if (!this.#batchOpen && this.#onDrained) {
        this.#flush()
        if (this.#pending.size === 0) {
          this.close()
          this.#onDrained()
        } else {
          this.driver.park(false)
        }
        break
      }
      if (!this.#batchOpen && !this.#take(room)) {
        this.#flush()
        if (this.driver.park(true)) break
        continue
      }
      this.#runBatch(began)
      if (performance.now() - began > turnMs) {
        this.#flush()
        setImmediate(() => this.#run())
        break
      }
    }
    this.#running = false
  }

  #take(room: number): boolean {
    if (this.#slab.length - this.#slabUsed < slabLeast) {
      // The frames of the old slab may still be referenced, so it is never written again.
      this.#slab = new Uint8Array(native.newSlab(slabBytes))
      this.#slabUsed = 0
    }
    const packed = this.driver.take(this.#rows, this.#slab, this.#slabUsed, room)
    const count = Math.floor(packed / 2 ** 32)
    this.#slabUsed = packed % 2 ** 32
    this.#batchStarted = 0
    this.#batchOpen = count !== 0
    return this.#batchOpen
  }

  #runBatch(began: number): void {
    let flushed = began
    for (;;) {
      if (this.#pending.size >= this.#options.concurrency) break // the rest stays claimed; an idle sibling may take it
      const state = Atomics.add(this.#batchState, 0, 1)
      const index = state & 0xffff
      if (index >= state >>> 16) {
        this.driver.finish(this.#batchStarted)
        this.#batchOpen = false
        break
      }
      this.#batchStarted++
      this.#runFrame(index * rowWords)
      // Asking for the time costs as much as a small frame: every fourth one is often enough.
      if (this.#outCount < 4 || (this.#batchStarted & 3) !== 0) continue
      const now = performance.now()
      if (now - flushed > flushMs) {
        this.#flush()
        flushed = now
      }
    }
    this.#flush()
  }

  #runFrame(at: number): void {
    const rows = this.#rows
    const token = rows[at]!
    const offset = rows[at + 2]!
    const bytes = offset === 0xffff_ffff ? this.driver.frameBytes(token)! : Buffer.from(this.#slab.buffer, offset, rows[at + 3]!)
    const listener = rows[at + 1]!
    const frame = new RunningFrame(this, token, bytes, rows, at, this.#options.listenerName(listener))
    const work = this.#options.work(listener)
    frame.work = work
    if ((rows[at + 7]! & refusedBit) !== 0) return this.#refuse(frame, work)
    try {
      const result = work.parse(bytes, frame.context)
      if (typeof result === 'string' && !frame.isSpecial) this.#put(token, last, result)
      else this.#onResult(frame, result)
    } catch (error) {
      this.fail(frame, error)
    }
  }

  /** Nobody works on it any more: the app says so in its own words, or the connection closes. */
  #refuse(frame: RunningFrame, work: FrameWork): void {
    if (frame.isCall || !work.overloaded) return this.#settleRaw(frame, last | failed | destroy | overloaded, '')
    try {
      this.#onResult(frame, work.overloaded(frame.bytes, frame.context))
    } catch (error) {
      this.fail(frame, error)
    }
  }

  #onResult(frame: RunningFrame, result: Reply | Promise<Reply>): void {
    if (isPromise(result)) {
      this.#wait(frame, result)
    } else if (isAsyncIterable(result)) {
      this.#wait(frame, this.#stream(frame, result))
    } else {
      this.settle(frame, result)
    }
  }

  #wait(frame: RunningFrame, promise: Promise<Reply>): void {
    this.#hold(frame)
    promise.then(
      (value) => {
        if (frame.settled) return
        if (isAsyncIterable(value)) return this.#wait(frame, this.#stream(frame, value))
        this.settleOrFail(frame, value)
      },
      (error: unknown) => this.fail(frame, error),
    )
  }

  #hold(frame: RunningFrame): void {
    if (this.#pending.has(frame)) return
    this.driver.hold(frame.token)
    frame.deadline = performance.now() + this.#options.taskTimeoutMs
    this.#pending.add(frame)
    if (!this.#timer) this.#arm(this.#options.taskTimeoutMs)
  }

  #arm(milliseconds: number): void {
    this.#timerDue = performance.now() + milliseconds
    this.#timer = setTimeout(() => this.#expire(), milliseconds)
  }

  async #stream(frame: RunningFrame, parts: AsyncIterable<Bytes>): Promise<undefined> {
    for await (const part of parts) {
      if (frame.settled) break // leaving the loop ends the iterator too
      if (!isBytes(part)) throw notAReply(part)
      await frame.write(part)
    }
  }

  // ---------------------------------------------------------------- settling

  settleOrFail(frame: RunningFrame, value: Reply): void {
    try {
      this.settle(frame, value)
    } catch (error) {
      this.fail(frame, error)
    }
  }

  /** The one settlement of a frame; later ones are ignored. Throws when `value` is no reply. */
  settle(frame: RunningFrame, value: Reply, flags = 0): void {
    if (frame.settled) return
    const bytes = joined(value)
    this.#finish(frame)
    this.#put(frame.token, flags | last | (frame.ends ? end : 0) | (frame.failing ? failed : 0), bytes)
    this.#afterSettle()
  }

  /** `parse` failed: the error hook answers, or the connection closes. A caller gets the error itself. */
  fail(frame: RunningFrame, error: unknown): void {
    if (frame.settled) return
    if (frame.isCall) return this.#settleRaw(frame, last | failed, JSON.stringify(toEnvelope(error)))
    const hook = frame.work?.error
    if (!hook || frame.failing) {
      // Who has a hook, or called, is told there; what nobody handles is reported.
      this.#options.onFailure(error, frame.listener)
      return this.#settleRaw(frame, last | failed | destroy | timedOutFlag(error), '')
    }
    frame.failing = true
    try {
      const answer = hook(error, frame.bytes, frame.context)
      if (isPromise(answer) || isAsyncIterable(answer)) this.#onResult(frame, answer)
      else this.settle(frame, answer)
    } catch (second) {
      this.fail(frame, second)
    }
  }

  report(error: unknown, listener: string): void {
    this.#options.onFailure(error, listener)
  }

  destroyConnection(frame: RunningFrame): void {
    if (!frame.settled)
      this.#settleRaw(
        frame,
        frame.isCall ? last | failed : last | destroy,
        frame.isCall
          ? JSON.stringify(
              toEnvelope(new MultireactorError('ERR_MR_TASK_FAILED', 'the worker function destroyed its connection')),
            )
          : '',
      )
  }

  #settleRaw(frame: RunningFrame, flags: number, bytes: Bytes): void {
    this.#finish(frame)
    this.#put(frame.token, flags, bytes)
    this.#afterSettle()
  }

  #finish(frame: RunningFrame): void {
    frame.settled = true
    this.#pending.delete(frame)
    frame.release()
  }

  /** Outside of a batch nobody else flushes, and a worker that was at its limit can go on. */
  #afterSettle(): void {
    if (this.#running || this.#flushAsked) return
    this.#flushAsked = true
    queueMicrotask(() => {
      this.#flushAsked = false
      this.#flush()
      this.#run()
    })
  }

  #put(token: number, flags: number, bytes: Bytes): void {
    const most = typeof bytes === 'string' ? bytes.length * 3 : bytes.length
    if (most > this.#out.length / 4) {
      this.#flush()
      this.driver.part(token, flags, bytes, 0, 0)
      return
    }
    if (this.#outUsed + most > this.#out.length || this.#outCount * 4 === this.#outRows.length) this.#flush()
    let length = bytes.length
    if (typeof bytes === 'string') length = this.#out.write(bytes, this.#outUsed)
    else this.#out.set(bytes, this.#outUsed)
    const rows = this.#outRows
    const at = this.#outCount++ * 4
    rows[at] = token
    rows[at + 1] = flags
    rows[at + 2] = this.#outUsed
    rows[at + 3] = length
    this.#outCounter[0] = this.#outCount
    this.#outUsed += length
  }

  #flush(): void {
    if (this.#outCount === 0 || this.#closed) return
    this.driver.settle()
    this.#outCount = 0
    this.#outUsed = 0
  }

  // ---------------------------------------------------------------- streams, signals, time

  openStream(frame: RunningFrame): number {
    const stream = this.#nextStream
    this.#nextStream = (this.#nextStream % 0x7fff_ffff) + 1
    this.#streams.set(stream, frame)
    return stream
  }

  closeStream(stream: number): void {
    this.#streams.delete(stream)
  }

  sendPart(frame: RunningFrame, stream: number, part: Bytes, credit: number): void {
    this.#flush()
    this.driver.part(frame.token, 0, part, credit, stream)
  }

  watch(frame: RunningFrame): void {
    const id = frame.connection
    const frames = this.#watching.get(id) ?? new Set()
    frames.add(frame)
    this.#watching.set(id, frames)
    if (this.#watching.size === 1) this.driver.watchGone(true)
    // It may have closed before anybody watched.
    if (this.driver.isGone(id)) queueMicrotask(() => this.#connectionGone(id))
  }

  unwatch(frame: RunningFrame): void {
    const frames = this.#watching.get(frame.connection)
    frames?.delete(frame)
    if (frames?.size !== 0) return
    this.#watching.delete(frame.connection)
    if (this.#watching.size === 0) this.driver.watchGone(false)
  }

  #connectionGone(id: bigint): void {
    for (const frame of [...(this.#watching.get(id) ?? [])]) {
      frame.abort(new MultireactorError('ERR_MR_CONNECTION_CLOSED', 'the connection that this frame came from is closed'))
    }
  }

  #expire(): void {
    this.#timer = undefined
    const now = performance.now()
    // The process was stopped, or another frame kept the thread: nobody has had that time.
    const late = now - this.#timerDue
    if (late > leastLateMs) for (const frame of this.#pending) frame.deadline += late
    let next = 0
    for (const frame of this.#pending) {
      if (frame.deadline > now) {
        next = frame.deadline - now
        break
      }
      const error = new MultireactorError(
        'ERR_MR_TASK_TIMEOUT',
        `the frame ran longer than taskTimeoutMs (${this.#options.taskTimeoutMs} ms)`,
      )
      frame.abort(error)
      this.fail(frame, error)
      // A hook that answers asynchronously holds the frame again, with a new deadline.
      this.#pending.delete(frame)
      if (!frame.settled) this.#hold(frame)
    }
    if (next > 0 && !this.#timer) this.#arm(Math.ceil(next))
  }
}

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
  readonly #loop: WorkerLoop
  readonly #idLow: number
  readonly #idHigh: number
  #abort: AbortController | undefined
  #stream = 0
  #outstanding = 0
  #gone = false
  #waiting: { resolve(): void; reject(error: Error): void }[] | undefined
  #context: TaskContext | undefined
  #peer: [string, number] | undefined

  constructor(loop: WorkerLoop, token: number, bytes: Buffer, rows: Uint32Array, at: number, listener: string) {
    this.#loop = loop
    this.token = token
    this.bytes = bytes
    this.listener = listener
    this.#idLow = rows[at + 4]!
    this.#idHigh = rows[at + 5]!
    this.sequence = rows[at + 6]!
    this.#flags = rows[at + 7]!
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
    return (BigInt(this.#idHigh) << 32n) | BigInt(this.#idLow)
  }

  get peer(): [string, number] | undefined {
    if (!this.settled) this.#peer ??= this.#loop.driver.peer(this.token)
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

  report(error: unknown): void {
    this.#loop.report(error, this.listener)
  }

  endAfter(): void {
    this.ends = true
  }

  destroy(_reason: unknown): void {
    this.#loop.destroyConnection(this)
  }

  /** Settled: nothing names it any more. */
  release(): void {
    if (this.#stream !== 0) this.#loop.closeStream(this.#stream)
    if (this.#abort) this.#loop.unwatch(this)
    if (this.#waiting) for (const { resolve } of this.#takeWaiting()) resolve()
  }
}

function timedOutFlag(error: unknown): number {
  return error instanceof MultireactorError && error.code === 'ERR_MR_TASK_TIMEOUT' ? timedOut : 0
}

function isPromise(value: unknown): value is Promise<Reply> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

function joined(value: Reply): Bytes {
  if (value === undefined) return ''
  if (isBytes(value)) return value
  if (!Array.isArray(value)) throw notAReply(value)
  if (value.every((part) => typeof part === 'string')) return value.join('')
  for (const part of value) if (!isBytes(part)) throw notAReply(part)
  return Buffer.concat(value.map((part: Bytes) => (typeof part === 'string' ? Buffer.from(part) : part)))
}
