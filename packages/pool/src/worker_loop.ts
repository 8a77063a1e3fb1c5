import { Buffer } from 'node:buffer'
import {
  bufferOf,
  costKey as keyTable,
  frameFlag,
  measured as measuring,
  native,
  type NativeWorkerDriver,
  outRow as outTable,
  outWord as wordTable,
  sampleFlag,
  taskRow as taskTable,
  undetachable,
} from '@multireactor/addon'
import { CostMeter } from './cost_meter.js'
import { FrameLoop, type FrameLoopOptions } from './frame_loop.js'
import { ReplyBox } from './reply_box.js'
import { RunningFrame } from './running_frame.js'
import type { Bytes } from './task_context.js'

export interface WorkerLoopOptions extends FrameLoopOptions {
  runtime: number
  index: number
  /** Unsettled asynchronous frames. */
  concurrency: number
  /** How much the thread gives way to others, 0 to 19. */
  nice: number
}

// See engine.ts: constants of another module are loaded each time.
const outRow = outTable
const outWord = wordTable
const taskRow = taskTable
const costKey = keyTable

const slabBytes = 256 << 10
const slabLeast = 16 << 10
const leastCounted = 4 << 10
/** After so long the thread's own timers and messages get their turn. */
const turnMs = 5
/**
 * Replies leave about this often while there is more to do, and before a frame that may be dear: a group of them costs its reactor a
 * wake-up, and a send for each connection in it.
 */
const flushMs = 0.2

// Read once: the global is an accessor, and goes through a slow path of the engine each time.
const clock = globalThis.performance

/** Set aside: its frame has no room for a reply, and the native side has taken it out of the batch. */
const { refused: refusedBit, setAside: setAsideBit } = frameFlag

/** Takes frames from the task queue of a runtime on the current thread, runs the work, settles each frame exactly once. */
export class WorkerLoop extends FrameLoop {
  readonly driver: NativeWorkerDriver
  readonly #runtime: number
  readonly #concurrency: number
  readonly #batchState: Uint32Array
  readonly #rows = new Uint32Array(taskRow.most * taskRow.words)
  #slab: Uint8Array<ArrayBuffer>
  #memory: ArrayBuffer // of the slab: asking a typed array for it is a call
  #slabUsed = 0
  readonly #words: Uint32Array
  readonly #out: ReplyBox
  readonly #meter: CostMeter
  #batchStarted = 0
  #batchOpen = false
  #running = false
  #closed = false
  #flushAsked = false
  /** When the replies in the box were last found to be due, or this turn began. */
  #flushedAt = 0
  #onDrained: (() => void) | undefined
  /**
   * Node may still run microtasks behind one that has thrown and so ended the thread. No frame begins there, and the replies in the box
   * stay: the reaper of this thread sends them.
   */
  readonly #onExit = (): void => {
    this.#closed = true
  }

  constructor(options: WorkerLoopOptions) {
    super(options)
    this.#runtime = options.runtime
    this.#concurrency = options.concurrency
    this.#memory = undetachable(native.newSlab(options.runtime, slabBytes))
    this.#slab = new Uint8Array(this.#memory)
    if (options.nice > 0) native.setThreadNice(options.nice)
    this.driver = new native.WorkerDriver(
      options.runtime,
      options.index,
      () => this.#run(),
      (stream, amount, gone) => this.credit(stream, amount, gone),
      (id) => this.connectionGone(id),
    )
    const { batchState, outWords, outRows, outBytes, samples } = this.driver
    this.#batchState = batchState
    this.#words = outWords
    this.#out = new ReplyBox(outWords, outWord.count, outRows, outRow, outBytes)
    this.#meter = new CostMeter(samples, outWords, outWord.samples)
    process.once('exit', this.#onExit)
    setImmediate(() => this.#run())
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    process.removeListener('exit', this.#onExit)
    this.stopTimer()
    this.driver.close()
  }

  /** Takes nothing more, finishes what it has claimed, and closes. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#onDrained = resolve
      this.#run()
    })
  }

  override allocate(bytes: number): Buffer {
    // Whole pages, so not for smaller sizes.
    return bytes < leastCounted ? super.allocate(bytes) : Buffer.from(undetachable(native.newSlab(this.#runtime, bytes)))
  }

  // ---------------------------------------------------------------- taking

  #run(): void {
    if (this.#running || this.#closed) return
    this.#running = true
    const began = clock.now()
    this.#flushedAt = began
    for (;;) {
      const room = this.#concurrency - this.pending.size
      if (room <= 0) {
        // Nothing new is started; settling one of the pending frames comes back here.
        this.#flush()
        this.driver.park(false)
        break
      }
      if (!this.#batchOpen && this.#onDrained) {
        this.#flush()
        if (this.pending.size === 0) {
          this.close()
          this.#onDrained()
        } else {
          this.driver.park(false)
        }
        break
      }
      if (this.#batchOpen) {
        this.driver.goOn()
      } else if (!this.#take(room)) {
        this.#flush()
        if (this.driver.park(true)) break
        continue
      }
      const now = this.#runBatch()
      if (now - began > turnMs) {
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
      this.#memory = undetachable(native.newSlab(this.#runtime, slabBytes))
      this.#slab = new Uint8Array(this.#memory)
      this.#slabUsed = 0
    }
    const packed = this.driver.take(this.#rows, this.#slab, this.#slabUsed, room)
    const count = Math.floor(packed / 2 ** 32)
    this.#slabUsed = packed % 2 ** 32
    this.#batchStarted = 0
    this.#batchOpen = count !== 0
    return this.#batchOpen
  }

  /** Returns the time. */
  #runBatch(): number {
    if (this.#words[outWord.measured] === measuring.mayBeDear) this.#flush()
    for (;;) {
      if (this.pending.size >= this.#concurrency) {
        // The rest stays claimed; an idle sibling may take it. The time until a frame settles is not measured.
        this.#finish()
        break
      }
      const state = Atomics.add(this.#batchState, 0, 1)
      const index = state & 0xffff
      if (index >= state >>> 16) {
        this.#finish()
        this.#batchOpen = false
        break
      }
      this.#batchStarted++
      this.#runFrame(index * taskRow.words)
      // Asking for the time costs as much as a small frame: every fourth one is often enough.
      if (this.#out.count >= 4 && (this.#batchStarted & 3) === 0) this.#flushIfDue()
    }
    return this.#flushIfDue()
  }

  /** Settles the frames of the batch that were started since it was taken or resumed. */
  #finish(): void {
    this.#meter.end()
    this.driver.finish(this.#batchStarted)
    this.#batchStarted = 0
  }

  #runFrame(at: number): void {
    const rows = this.#rows
    const flags = rows[at + taskRow.flags]!
    if ((flags & setAsideBit) !== 0) return void this.#batchStarted--
    const token = rows[at + taskRow.token]!
    const key = rows[at + taskRow.key]!
    const offset = rows[at + taskRow.offset]!
    const bytes =
      offset === taskRow.elsewhere ? this.driver.frameBytes(token)! : bufferOf(this.#memory, offset, rows[at + taskRow.length]!)
    const listener = key >>> costKey.listenerShift
    const frame = new RunningFrame(
      this,
      token,
      bytes,
      this.options.listener(listener),
      rows[at + taskRow.sequence]!,
      flags,
      rows[at + taskRow.idLow]!,
      rows[at + taskRow.idHigh]!,
    )
    const work = this.options.work(listener)
    if ((flags & refusedBit) !== 0) return this.refuse(frame, work)
    const measured = this.#words[outWord.measured] !== measuring.asWhole
    if (measured) this.#meter.before(key)
    if (!this.runFrame(frame, work)) this.#meter.note(sampleFlag.asynchronous, !measured)
  }

  // ---------------------------------------------------------------- settling

  /** Outside of a batch this is the only flush, and a worker that was at its limit can go on. */
  protected afterSettle(): void {
    if (this.#running || this.#flushAsked) return
    this.#flushAsked = true
    queueMicrotask(() => {
      this.#flushAsked = false
      this.#flush()
      this.#run()
    })
  }

  protected put(frame: RunningFrame, flags: number, bytes: Bytes): void {
    let at = this.#out.put(bytes)
    if (at === undefined) {
      this.#flush()
      at = this.#out.put(bytes)
      if (at === undefined) return this.driver.part(frame.token, flags, bytes, 0, 0)
    }
    const { rows } = this.#out
    rows[at + outRow.token] = frame.token
    rows[at + outRow.flags] = flags
    this.#out.written(at)
  }

  #flush(): void {
    if (this.#out.isEmpty || this.#closed) return
    this.driver.settle()
    this.#out.clear()
  }

  /** Returns the time. */
  #flushIfDue(): number {
    const now = clock.now()
    if (now - this.#flushedAt > flushMs) {
      this.#flush()
      this.#flushedAt = now
    }
    return now
  }

  protected putPart(frame: RunningFrame, stream: number, part: Bytes, credit: number): void {
    this.#flush()
    this.driver.part(frame.token, 0, part, credit, stream)
  }

  protected holdFrame(frame: RunningFrame): void {
    this.driver.hold(frame.token)
  }

  protected watchGone(on: boolean): void {
    this.driver.watchGone(on)
  }

  protected isGone(id: bigint): boolean {
    return this.driver.isGone(id)
  }

  peerOf(frame: RunningFrame): [string, number] | undefined {
    return this.driver.peer(frame.token)
  }

  idOf(frame: RunningFrame): bigint {
    return (BigInt(frame.high) << 32n) | BigInt(frame.low)
  }
}
