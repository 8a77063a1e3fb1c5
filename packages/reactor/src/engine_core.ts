import { Buffer } from 'node:buffer'
import {
  framingResult,
  inOurClass,
  isPeersDoing,
  MultireactorError,
  native,
  type NativeReactorDriver,
  undetachable,
  wireLimit,
} from '@multireactor/addon'
import type { ConnectionLink } from './connection_link.js'
import type { EngineListener } from './engine_listener.js'
import type { Framing } from './framing.js'
import type { ReactorHandle } from './handle.js'
import { HookTime } from './hook_time.js'
import { PoolRuns } from './pool_runs.js'
import { Slabs } from './slabs.js'
import type { Allocate } from './waiting_bytes.js'
import { WriteBox } from './write_box.js'

/** Frames that run on this thread instead of in the pool. Another package runs them. */
export interface InlineFrames {
  run(rows: Uint32Array, at: number, slab: ArrayBuffer): void
  place(slot: number, generation: number, frame: Buffer): void
  endBatch(): void
  credit(stream: number, amount: number, gone: boolean): void
  gone(low: number, high: number): void
  overrun(key: number, ns: number): void
  close(): void
}

export interface EngineEvents {
  /** A hook of a connection threw or rejected; the connection has been closed. */
  handlerError(error: unknown, hook: string, listener: string): void
  acceptError(errno: number, listener: string): void
  /** A connection was closed because its peer left too much unread. */
  slowConsumer?: ((listener: string) => void) | undefined
  /** Another thread has called the app. Its result is the answer; without this there is no hook. */
  onCall?: ((bytes: Buffer) => unknown) | undefined
  /** After `drain`: the last listener and connection of this reactor have closed. */
  drained(): void
}

/** Of a connection's id: above slot and generation. */
const homeShift = BigInt(wireLimit.idSlotBits + 32)

/** The engine as connections, streams and hooks know it: the driver, the tables, and the questions of the app's calls. */
export abstract class EngineCore {
  readonly driver: NativeReactorDriver
  /** The connection whose `message` hook is running, up to its first await. */
  current: ConnectionLink | undefined
  /** The first place in the order that it has taken there, or -1. */
  place = -1
  readonly index: number
  draining = false
  /** The connections that a stream of this thread owns. */
  // biome-ignore lint/suspicious/noExplicitAny: the data of connections differs from listener to listener
  readonly streams: Set<ConnectionLink<any>> = new Set()
  protected readonly runtime: number
  protected readonly hasPool: boolean
  protected readonly events: EngineEvents
  protected readonly rows: Uint32Array
  protected readonly slabs: Slabs = new Slabs()
  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected readonly connections: (ConnectionLink<any> | undefined)[] = []
  protected readonly listeners: EngineListener[] = []
  protected readonly runs: PoolRuns
  protected readonly writes: WriteBox
  /** How much the connection whose frames are being handed out may still write before `write` says false. */
  protected room = 0
  protected roomOf: unknown
  protected dispatching = false
  protected batchNumber = 0
  protected readonly time: HookTime = new HookTime()
  protected flushAsked = false
  protected isClosed = false

  /** Attaches to reactor `index` of a runtime. Throws `ERR_MR_WRONG_THREAD` when another living thread drives it. */
  constructor(runtime: number, index: number, hasPool: boolean, events: EngineEvents, ownsRuntime: boolean) {
    this.index = index
    this.runtime = runtime
    this.hasPool = hasPool
    this.events = events
    this.runs = new PoolRuns(this.allocate)
    this.driver = new native.ReactorDriver(
      runtime,
      index,
      (count, oldest, current, more) => this.onEvents(count, oldest, current, more),
      (size, id) => this.#newSlab(size, id),
      ownsRuntime,
    )
    this.rows = this.driver.eventRows
    this.writes = new WriteBox(this.driver)
  }

  /** Rows of a batch: `oldest` and `current` are numbers of slabs. */
  protected abstract onEvents(count: number, oldest: number, current: number, more: number): void

  /** The handle for user code. */
  abstract get handle(): ReactorHandle

  /** The server is closing, or the thread is leaving: fresh streams are to end soon. */
  abstract get closing(): boolean

  idOf(slot: number, generation: number): bigint {
    return (BigInt(this.index) << homeShift) | (BigInt(slot) << 32n) | BigInt(generation)
  }

  /** A call on a connection that has closed. */
  countLateCall(): void {
    this.driver.countLateCall()
  }

  /** A message of a hook was not sent, its peer being slow. */
  countDropped(): void {
    this.driver.countDropped()
  }

  isThere(slot: number, generation: number): boolean {
    return !this.isClosed && this.driver.details(slot, generation) !== undefined
  }

  /** Throws for work without a taker, which would never settle. */
  checkPool(call: string, listener: EngineListener, hook: 'parse' | 'task' = 'parse'): void {
    if (listener.isClient) {
      throw new MultireactorError(
        'ERR_MR_NO_POOL',
        `${call}: the connection to ${listener.name} is one that this server has made, and has no parse: hand the frame to the pool by the connection that it is for`,
      )
    }
    const { task } = listener.handlers as { task?: unknown }
    if (!this.hasPool || (hook === 'parse' ? !listener.toPool : task === undefined)) {
      throw new MultireactorError(
        'ERR_MR_NO_POOL',
        this.hasPool
          ? `${call}: the app has no ${hook} hook to hand this to: give it one`
          : `${call}: there is no pool to hand this to: start the server with pool: 1 or more, and give the app a ${hook} hook`,
      )
    }
  }

  /**
   * A hook has failed. The one place that reports it: a failure that a peer causes by leaving, or by breaking the rules, is counted as the close
   * of its connection and not reported.
   */
  report(error: unknown, hook: string, listener: string): void {
    if (isPeersDoing(error)) return
    this.events.handlerError(error, hook, listener)
  }

  /** The batch being handed out, whose rest is not for a connection that stops now; -1 between batches, where nothing is left over. */
  get batch(): number {
    return this.dispatching ? this.batchNumber : -1
  }

  /** See `Connection.markWriteFull`. */
  stopWhileFull(slot: number, generation: number): void {
    const conn = this.dispatching ? this.connections[slot] : undefined
    if (conn?.generation === generation) conn.markWriteFull()
  }

  setFraming(slot: number, generation: number, framing: Framing, rawEnd: number): void {
    const done = inOurClass(() => this.driver.setFraming(slot, generation, framing.native, rawEnd))
    if (done === framingResult.gone) this.countLateCall()
    if (done === framingResult.tooMany) {
      throw new MultireactorError(
        'ERR_MR_LIMIT',
        'setFraming(): the connections of this reactor have some 65,000 different framings: use equal ones for most of them',
      )
    }
  }

  awaitRun(number: number, call: string): Promise<Buffer> {
    return this.runs.add(number, call)
  }

  /** Takes a write of the running `message` hook. False: there is no room, or it is above the high water mark; call the driver. */
  box(slot: number, generation: number, data: string | Uint8Array, most: number): boolean {
    const length = this.writes.add(slot, generation, data, most, this.room)
    if (length < 0) {
      this.time.soon()
      this.room = 0 // how much waits is not known here any more
      return false
    }
    this.room -= length
    return true
  }

  /** Something was written: inside a turn it leaves with the turn, otherwise at the end of this microtask round. */
  touched(): void {
    if (this.dispatching || this.flushAsked) return
    this.flushAsked = true
    queueMicrotask(() => {
      this.flushAsked = false
      this.driver.flush()
    })
  }

  /**
   * Takes text at the place of the frame at hand, however much waits already: the reply of a protocol that asks nothing about room.
   * False: it does not fit; call the driver.
   */
  reply(slot: number, generation: number, text: string, most: number, ascii: boolean): boolean {
    const length = this.writes.add(slot, generation, text, most, Infinity, ascii)
    this.room -= length
    return length >= 0
  }

  /** For bytes of a peer that wait in JavaScript: counts as received until it is collected. Not zeroed. */
  readonly allocate: Allocate = (bytes) => Buffer.from(undetachable(native.newSlab(this.runtime, bytes)))

  #newSlab(size: number, id: number): Uint8Array {
    // Not zeroed: every byte that is handed out has been received.
    const slab = undetachable(native.newSlab(this.runtime, size))
    this.slabs.add(id, slab)
    return new Uint8Array(slab)
  }
}
