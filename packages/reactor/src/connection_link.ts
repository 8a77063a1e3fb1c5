import { type CloseReason, closeReasons, type NativeDetails, peerFamily } from '@multireactor/addon'
import { ended, streamed } from './call_checks.js'
import { Connection } from './connection.js'
import type { Deflated } from './deflated_forms.js'
import type { EngineCore } from './engine_core.js'
import type { EngineListener } from './engine_listener.js'
import type { Framing } from './framing.js'
import type { HeldReply } from './held_reply.js'
import type { SecureLayer } from './secure_layer.js'
import type { ConnectionStream } from './stream.js'
import type { Allocate } from './waiting_bytes.js'

const families = { [peerFamily.unnamed]: undefined, [peerFamily.ipv4]: 'IPv4', [peerFamily.ipv6]: 'IPv6' } as const
/** `rawEnd` of a call outside of every hook. */
export const outsideMessage = 0xffff_ffff

/** Marks of a connection, as bits. */
export const mark = {
  /** `end()` was said. */
  endSaid: 1,
  /** The app has paused it. */
  paused: 2,
  /** Reading has stopped: as many `message` hooks are pending as may be. */
  full: 4,
  /** No `message` hook is called for it any more: it is never full. */
  unheard: 8,
  /** `destroy()` was said. */
  destroySaid: 16,
  /** The app itself has piped it, or told it to move. */
  placed: 32,
  /** A hook has failed: it closes behind the replies that are owed. */
  failed: 64,
} as const
/** Marks of one that is to close without waiting for its app, */
export const leaves: number = mark.destroySaid | mark.failed
/** or by its wish. */
export const goes: number = mark.endSaid | leaves
const neverStops = goes | mark.full | mark.unheard
export const notStopped = -2
/** More than `outBuffer.high` waits: whether it stops is asked when a further frame is at hand. */
const stopsWhileFull = -3

/** The state of a protocol's package for a connection. */
export interface Protocol {
  /** Called while memory is short: copies the few bytes for which it keeps a slab. */
  shrink?(): void
}

interface Remote {
  address: string
  port: number
  family: 'IPv4' | 'IPv6' | undefined
}

/** Fields that most connections never need. */
interface Seldom {
  /** It was born in another reactor. */
  id: bigint | undefined
  remote: Remote | undefined
  finalCounts: { read: number; written: number } | undefined
  runs: Set<number> | undefined
  /** Of setFraming(). */
  framing: Framing | undefined
  protocol: Protocol | undefined
  resumed: number
  stream: ConnectionStream | undefined
  secure: SecureLayer | undefined
  /** Promises of `message` hooks that have not settled. */
  pending: number
}

/**
 * The engine's side of a connection, and that of the protocols of this repository: where it stands in the batch at hand, the owner of its bytes,
 * the reasons that hold it back. Users see `Connection` alone. It is one object with it, since an idle server is mostly made of these
 * (docs/memory.md): rare fields lie in `seldom`, and nothing is kept twice.
 */
export abstract class ConnectionLink<Data = unknown> extends Connection<Data> {
  readonly slot: number
  readonly generation: number
  readonly engineListener: EngineListener
  /** The batch in which it was paused or reframed: its later rows must not be delivered. Or `notStopped`. */
  stoppedIn: number
  /** The batch in which a hook last saw bytes of it, */
  seenIn: number
  /** and where they ended. */
  rawEnd: number
  protected readonly engine: EngineCore
  protected value: Data
  protected closed: CloseReason | undefined
  protected marks: number
  protected seldom: Seldom | undefined
  abstract override defer(): HeldReply

  /** Made by its engine alone. `id`: of one that another thread has served. */
  constructor(engine: EngineCore, listener: EngineListener, slot: number, generation: number, data: Data, id?: bigint) {
    super()
    this.slot = slot
    this.generation = generation
    this.engineListener = listener
    this.stoppedIn = notStopped
    this.seenIn = -1
    this.rawEnd = 0
    this.engine = engine
    this.value = data
    this.closed = undefined
    this.marks = 0
    this.seldom = undefined
    if (id !== undefined && id !== engine.idOf(slot, generation)) this.needSeldom().id = id
  }

  /** Called by the engine, once. */
  markClosed(reason: CloseReason, read: number, written: number): void {
    this.peerAddress()
    this.closed = reason
    this.needSeldom().finalCounts = { read, written }
  }

  /** Called by the engine: it lives in another thread from now on. */
  markMoved(): void {
    this.peerAddress()
    this.markLeft()
  }

  /** Called by the engine when this thread does not drive its reactor any more. */
  markLeft(): void {
    this.closed ??= 'destroyed'
  }

  /** Called by the engine when it takes over a connection whose end was said in another thread. */
  markEnded(): void {
    this.marks |= mark.endSaid
  }

  get isOpen(): boolean {
    return this.closed === undefined && (this.marks & goes) === 0
  }

  /**
   * A hook of it has failed: it closes behind the replies to the frames before. `place`: the first one that the frame itself has in the
   * order; -1: none. Nothing is delivered any more.
   */
  fail(reason: CloseReason, place: number): void {
    if (this.closed !== undefined || (this.marks & leaves) !== 0) return
    this.stop()
    this.marks |= mark.failed
    this.engine.driver.fail(this.slot, this.generation, closeReasons.indexOf(reason), place)
    this.engine.touched()
  }

  /**
   * A promise of a hook is pending, or no longer: it would be lost with this thread. Returns the place in the order that a frame would
   * have now, or -1.
   */
  hold(on: boolean): number {
    return this.closed === undefined ? this.engine.driver.hold(this.slot, this.generation, on) : -1
  }

  /**
   * The result of a `message` hook that has just returned is a promise. While `maxPendingMessages` of them have not settled, the
   * connection is not read, and later frames wait. Returns what `hold` does.
   */
  messagePending(): number {
    if (this.closed !== undefined) return -1
    const seldom = this.needSeldom()
    const place = this.hold(true)
    if (++seldom.pending < this.engineListener.maxPending || (this.marks & neverStops) !== 0) return place
    this.marks |= mark.full
    this.stopReading()
    return place
  }

  /**
   * The result of `open` is a promise: until it has settled nothing is read and no frame is delivered. `opened` and `failed` are called before
   * that ends, so that no frame comes behind a failure.
   */
  whileOpening<T>(result: PromiseLike<T>, opened: (value: T) => void, failed: (error: unknown) => void): void {
    this.openPending()
    const settled = (): void => this.settled(this.engineListener.maxPending)
    void Promise.resolve(result).then(opened, failed).finally(settled)
  }

  /** It stands for as many as may be pending. */
  protected openPending(): void {
    if (this.closed !== undefined) return
    const seldom = this.needSeldom()
    this.hold(true)
    seldom.pending += this.engineListener.maxPending
    if ((this.marks & neverStops) !== 0) return
    this.marks |= mark.full
    this.stopReading()
  }

  /** One that `messagePending` was told of has settled. */
  messageSettled(): void {
    this.settled(1)
  }

  protected settled(count: number): void {
    if (this.closed !== undefined) return
    this.seldom!.pending -= count
    const { pending } = this.seldom!
    if (pending < this.engineListener.maxPending) this.unstop()
    // Behind that: a connection that drains is looked at when nothing holds it any more, and must have its frames on the list then.
    this.hold(false)
  }

  /** A write has said that more waits than may. */
  markWriteFull(): void {
    if (this.stoppedIn === notStopped) this.stoppedIn = stopsWhileFull
  }

  /** A further frame of the batch is at hand behind such a write: whether it waits, with all that follow it. */
  stopIfFull(): boolean {
    if (this.stoppedIn !== stopsWhileFull) return false
    this.stoppedIn = notStopped
    if (!this.engine.driver.stopBehind(this.slot, this.generation, this.handedEnd())) return false
    this.stop()
    return true
  }

  /** Said by a protocol that delivers no message any more: the connection is read however many hooks are pending. */
  endMessages(): void {
    this.marks |= mark.unheard
    this.unstop()
  }

  protected unstop(): void {
    if ((this.marks & mark.full) === 0) return
    this.marks &= ~mark.full
    if ((this.marks & mark.paused) === 0) this.goOnReading()
  }

  /** It is not read because of pending `message` hooks. */
  get isFull(): boolean {
    return (this.marks & mark.full) !== 0
  }

  /** Memory for bytes of the peer that wait in JavaScript: `limits.memory` counts it until it is collected. */
  get allocate(): Allocate {
    return this.engine.allocate
  }

  /** Keeps `state` for the next thread. */
  keepState(state: Uint8Array): void {
    if (this.closed === undefined) this.engine.driver.keepState(this.slot, this.generation, state)
  }

  /** Goes to the sibling that `moveTo` named. */
  moveNow(state: Uint8Array | undefined): void {
    if (this.closed === undefined) this.engine.driver.moveNow(this.slot, this.generation, state)
  }

  /** Counts a call of the app on it or its protocol that came after the close. */
  countLateCall(): void {
    this.engine.countLateCall()
  }

  /** Counts a message that was not sent because the peer is slow. */
  countDropped(): void {
    this.engine.countDropped()
  }

  /** Asks for the `drain` hook, which is called once there is room. */
  awaitRoom(): void {
    this.engine.driver.write(this.slot, this.generation, '', false)
  }

  /** Publishes whether this connection is open or not. False: refused. */
  publishFor(topic: string, data: Uint8Array, deflated: Deflated | undefined): boolean {
    return this.engine.driver.publish(topic, data, deflated?.bytes, deflated?.windowBits) >= 0
  }

  /** Its reactor closes: nothing new is begun. */
  get ending(): boolean {
    return this.engine.draining
  }

  /** Numbers of its `run` and `runTask` calls that have not settled. */
  get runs(): Set<number> | undefined {
    return this.seldom?.runs
  }

  /** The framing that cuts its bytes now. */
  get framing(): Framing {
    return this.seldom?.framing ?? this.engineListener.framing
  }

  /** The protocol's state of this connection, beside the data of its app. */
  get protocol(): Protocol | undefined {
    return this.seldom?.protocol
  }

  set protocol(protocol: Protocol | undefined) {
    this.needSeldom().protocol = protocol
  }

  /** The `restoreFlag`s it has come with from another thread; 0: it was opened here. */
  get resumed(): number {
    return this.seldom?.resumed ?? 0
  }

  set resumed(flags: number) {
    this.needSeldom().resumed = flags
  }

  /** Gets its bytes and events instead of the hooks, once `toDuplex()` was called. */
  get stream(): ConnectionStream | undefined {
    return this.seldom?.stream
  }

  /** Its TLS. */
  get secure(): SecureLayer | undefined {
    return this.seldom?.secure
  }

  set secure(secure: SecureLayer | undefined) {
    this.needSeldom().secure = secure
  }

  protected stopReading(): void {
    this.stop()
    this.engine.driver.pause(this.slot, this.generation, this.handedEnd())
  }

  protected goOnReading(): void {
    this.engine.driver.resume(this.slot, this.generation)
    this.engine.touched()
  }

  protected stop(): void {
    this.stoppedIn = this.engine.batch
  }

  /** How much of this batch's bytes the hooks have seen; a hook of another connection may ask too. */
  protected handedEnd(): number {
    const batch = this.engine.batch
    if (batch === -1) return outsideMessage
    return this.seenIn === batch ? this.rawEnd : 0
  }

  protected details(): NativeDetails | undefined {
    return this.closed ? undefined : this.engine.driver.details(this.slot, this.generation)
  }

  protected peerAddress(): Remote | undefined {
    if (this.seldom?.remote) return this.seldom.remote
    const peer = this.closed ? undefined : this.engine.driver.peer(this.slot, this.generation)
    if (!peer || peer[2] === 0) return undefined
    const remote = { address: peer[0], port: peer[1], family: families[peer[2]] }
    this.needSeldom().remote = remote
    return remote
  }

  protected needSeldom(): Seldom {
    this.seldom ??= {
      id: undefined,
      remote: undefined,
      finalCounts: undefined,
      runs: undefined,
      framing: undefined,
      protocol: undefined,
      resumed: 0,
      stream: undefined,
      secure: undefined,
      pending: 0,
    }
    return this.seldom
  }

  /**
   * Whether the connection has closed, for any reason: then a call on it has no effect and is counted. Throws when the app can
   * know: between its own `end()` and the close, and behind its own `toDuplex()`.
   */
  protected isLate(call: string): boolean {
    if (this.isGone()) return true
    if ((this.marks & mark.endSaid) !== 0) throw ended(call)
    if (this.stream) throw streamed(call)
    return false
  }

  /** The same for calls that are allowed for any owner of the bytes. */
  protected isGone(): boolean {
    if (this.closed === undefined && (this.marks & leaves) === 0) return false
    this.engine.countLateCall()
    return true
  }

  /** Whether the app can know why its connection cannot be piped or streamed: it has piped or moved it itself. */
  protected wasPlaced(): boolean {
    return (this.marks & mark.placed) !== 0 && this.details() !== undefined
  }
}

/** The engine's side of a connection that a hook was given. */
export function linkOf<Data>(conn: Connection<Data>): ConnectionLink<Data> {
  return conn as ConnectionLink<Data>
}
