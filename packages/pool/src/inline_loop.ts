import {
  bufferOf,
  column as columns,
  costKey as keyTable,
  eventRow as eventTable,
  inlineRow as rowTable,
  inlineWord as wordTable,
  type NativeReactorDriver,
  replyFlag,
  sampleFlag,
  wireLimit,
} from '@multireactor/addon'
import { CostMeter } from './cost_meter.js'
import { FrameLoop, type FrameLoopOptions } from './frame_loop.js'
import { GcWatch } from './gc_watch.js'
import { ReplyBox } from './reply_box.js'
import { RunningFrame } from './running_frame.js'
import type { Bytes } from './task_context.js'

// See engine.ts: constants of another module are loaded each time.
const column = columns
const eventRow = eventTable
const inlineRow = rowTable
const inlineWord = wordTable
const costKey = keyTable

const { last, wasHeld } = replyFlag
const overrunMs = wireLimit.overrunNs / 1e6
/** The garbage collector says afterwards that it was there. */
const judgeAfterMs = 20
/** The first runs of a class on a thread, on code that has not been compiled, say little of those that follow. */
const coldRuns = 16
/** The engine compiles better and better code for a while, and stops the thread for that: a few moderate overruns are forgiven. */
const warmRuns = 2_000
const warmOverrunMs = 5
const mostForgiven = 2

/** Runs frames on the thread that drives their reactor, under the same contract as a pool worker. */
export class InlineLoop extends FrameLoop {
  readonly #driver: NativeReactorDriver
  readonly #words: Uint32Array
  readonly #out: ReplyBox
  readonly #meter: CostMeter
  readonly #gc = new GcWatch()
  /** How often each class has run here, up to `warmRuns`; by the low half of its key. */
  readonly #runs = new Uint16Array(1 << 16)
  readonly #forgiven = new Uint8Array(1 << 16)
  #inBatch = false
  #flushAsked = false
  #closed = false

  constructor(driver: NativeReactorDriver, options: FrameLoopOptions) {
    super(options)
    this.#driver = driver
    const { words, rows, samples, bytes } = driver.inlineBox()
    this.#words = words
    this.#out = new ReplyBox(words, inlineWord.count, rows, inlineRow, bytes)
    this.#meter = new CostMeter(samples, words, inlineWord.samples)
  }

  // ---------------------------------------------------------------- called by the engine

  /** A parse row of the batch at hand. */
  run(rows: Uint32Array, at: number, slab: ArrayBuffer): void {
    const { parse } = column
    const bytes = bufferOf(slab, rows[at + parse.offset]!, rows[at + parse.length]!)
    this.#run(
      bytes,
      rows[at + parse.key]!,
      rows[at + parse.sequence]!,
      rows[at + eventRow.slot]!,
      rows[at + eventRow.generation]!,
    )
  }

  /** A frame that a custom framer has cut: it runs here and now, or goes to the pool. */
  place(slot: number, generation: number, frame: Buffer): void {
    const place = this.#driver.place(slot, generation, frame)
    if (place === -1) return
    this.#run(frame, costKey.timedAlone + (place % costKey.placed), Math.floor(place / costKey.placed), slot, generation)
  }

  /** After the last row of a batch: the reactor takes the replies out of the box by itself. */
  endBatch(): void {
    this.#inBatch = false
    this.#meter.end()
  }

  override credit(stream: number, amount: number, gone: boolean): void {
    super.credit(stream, amount, gone)
  }

  gone(low: number, high: number): void {
    this.connectionGone((BigInt(high) << 32n) | BigInt(low))
  }

  /**
   * A run looked like an overrun, and its class goes to the pool: unless it was only there when the garbage was collected, or when its
   * code was compiled.
   */
  overrun(key: number, ns: number): void {
    const milliseconds = ns / 1e6
    if (this.#runs[key]! < warmRuns && milliseconds < warmOverrunMs && this.#forgiven[key]! < mostForgiven) {
      this.#forgiven[key]!++
      return this.#driver.judgeOverrun(key, false)
    }
    const to = performance.now()
    // It may have taken longer on the wall than it worked.
    const from = to - milliseconds - judgeAfterMs
    setTimeout(() => {
      if (!this.#closed) this.#driver.judgeOverrun(key, milliseconds - this.#gc.between(from, to) > overrunMs)
    }, judgeAfterMs).unref()
  }

  close(): void {
    this.#closed = true
    this.stopTimer()
    this.#gc.close()
  }

  // ---------------------------------------------------------------- running and settling

  #run(bytes: Buffer, key: number, sequence: number, slot: number, generation: number): void {
    const words = this.#words
    if (
      words[inlineWord.full] !== 0 &&
      (key & costKey.permitted) === 0 &&
      this.#driver.setAside(slot, generation, sequence, bytes)
    )
      return
    this.#inBatch = true
    const measured = words[inlineWord.measured] !== 0
    if (measured) this.#meter.before(key)
    words[inlineWord.running]!++
    const runs = this.#runs[key & 0xffff]!
    if (runs < warmRuns) this.#runs[key & 0xffff] = runs + 1
    if (runs < coldRuns) {
      this.#meter.note(sampleFlag.cold, !measured)
    }
    const listener = (key >>> costKey.listenerShift) & (wireLimit.listeners - 1)
    const frame = new RunningFrame(this, 0, bytes, this.options.listener(listener), sequence, 0, slot, generation)
    if (!this.runFrame(frame, this.options.work(listener))) this.#meter.note(sampleFlag.asynchronous, !measured)
    words[inlineWord.running]!++
  }

  protected put(frame: RunningFrame, flags: number, bytes: Bytes): void {
    let at = this.#out.put(bytes)
    if (at === undefined) {
      this.#driver.settleInline()
      at = this.#out.put(bytes)
      if (at === undefined) return this.#reply(frame, flags, bytes, 0, 0)
    }
    const { rows } = this.#out
    rows[at + inlineRow.slot] = frame.low
    rows[at + inlineRow.generation] = frame.high
    rows[at + inlineRow.sequence] = frame.sequence
    rows[at + inlineRow.flags] = flags | (frame.held ? wasHeld : 0)
    rows[at + inlineRow.frameBytes] = frame.bytes.length
    this.#out.written(at)
  }

  #reply(frame: RunningFrame, flags: number, bytes: Bytes, credit: number, stream: number): void {
    const isLast = (flags & last) !== 0
    const all = isLast && frame.held ? flags | wasHeld : flags
    const frameBytes = isLast ? frame.bytes.length : 0
    this.#driver.replyInline(frame.low, frame.high, frame.sequence, all, bytes, frameBytes, credit, stream)
  }

  protected putPart(frame: RunningFrame, stream: number, part: Bytes, credit: number): void {
    this.#reply(frame, 0, part, credit, stream)
    this.afterSettle()
  }

  protected afterSettle(): void {
    if (this.#inBatch || this.#flushAsked) return
    this.#flushAsked = true
    queueMicrotask(() => {
      this.#flushAsked = false
      this.#driver.settleInline()
      this.#driver.flush()
    })
  }

  protected holdFrame(frame: RunningFrame): void {
    frame.held = this.#driver.hold(frame.low, frame.high, true) >= 0
  }

  protected watchGone(on: boolean): void {
    this.#driver.watchGone(on)
  }

  protected isGone(id: bigint): boolean {
    return this.#driver.isGone(id)
  }

  peerOf(frame: RunningFrame): [string, number] | undefined {
    const details = this.#closed ? undefined : this.#driver.details(frame.low, frame.high)
    return details && [details[0], details[1]]
  }

  /** 0n when its connection has closed before the first call. */
  idOf(frame: RunningFrame): bigint {
    return this.#driver.connectionId(frame.low, frame.high) ?? 0n
  }
}
