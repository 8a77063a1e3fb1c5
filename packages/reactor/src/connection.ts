import type { TLSSocket } from 'node:tls'
import {
  causedByPeer,
  closeReasons,
  type CloseReason,
  type ErrorEnvelope,
  failureFromEnvelope,
  mostBytesOf,
  MultireactorError,
  OptionReader,
  peerFamily,
  pipeResult,
  replyFlag,
  shown,
  slowPolicies,
  submitHow,
  subscribeResult,
  valueBytes,
  valueFrom,
  type WriteResult,
  writeResult,
} from '@multireactor/addon'
import { ConnectionDuplex, type DuplexOptions } from './duplex.js'
import type { Engine } from './engine.js'
import type { EngineListener } from './engine_listener.js'
import type { ReactorHandle } from './handle.js'
import { type Deflated, deflatedFormOf } from './deflated_forms.js'
import { checkTopic, type SubscribeOptions } from './topics.js'
import { type Framing, isFraming, raw } from './framing.js'
import { SecureDuplex } from './secure_duplex.js'
import type { SecureLayer } from './secure_layer.js'
import type { ConnectionStream } from './stream.js'
import type { Allocate } from './waiting_bytes.js'

/** The part of a `tls.TLSSocket` that tells of the peer and of the handshake. */
export type TlsInfo = Pick<
  TLSSocket,
  | 'alpnProtocol'
  | 'authorized'
  | 'authorizationError'
  | 'getCipher'
  | 'getPeerCertificate'
  | 'getPeerX509Certificate'
  | 'getProtocol'
  | 'getSession'
  | 'isSessionReused'
> & { readonly servername: string | false | null }

const families = { [peerFamily.unnamed]: undefined, [peerFamily.ipv4]: 'IPv4', [peerFamily.ipv6]: 'IPv6' } as const
const outsideMessage = 0xffff_ffff

/** Marks of a connection, as bits. */
const mark = {
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
const leaves = mark.destroySaid | mark.failed
const goes = mark.endSaid | leaves
const neverStops = goes | mark.full | mark.unheard
export const notStopped = -2
/** More than `outBuffer.high` waits: whether it stops is asked when a further frame is at hand. */
const stopsWhileFull = -3

/** What a package of a protocol keeps with a connection. */
export interface Protocol {
  /** Called while memory is short: copies the few bytes for which it keeps a slab. */
  shrink?(): void
}

export interface ConnectionInternals {
  readonly slot: number
  readonly generation: number
  readonly engineListener: EngineListener
  /** The batch in which it was paused or reframed: what it has in it behind that must not be delivered. Or `notStopped`. */
  stoppedIn: number
  /** The batch in which a hook last saw bytes of it, */
  seenIn: number
  /** and where they ended. */
  rawEnd: number
  readonly runs: Set<number> | undefined
  readonly framing: Framing
  /** Its reactor closes: nothing new is begun. */
  readonly ending: boolean
  /** What a protocol knows of this connection, beside the data of its app. */
  protocol: Protocol | undefined
  /** With what `restoreFlag`s it has come from another thread. */
  resumed: number
  /** Who gets the bytes and events of the connection instead of the hooks. */
  readonly stream: ConnectionStream | undefined
  secure: SecureLayer | undefined
  /** The app has called something of the protocol on this connection, which had closed. */
  countLateCall(): void
  /** A message of a hook was not sent, the peer being slow. */
  countDropped(): void
  /** Whether it has room is of interest: the drain hook is called when it has. */
  awaitRoom(): void
  /** Publishes whether this connection is open or not. False: refused. */
  publishFor(topic: string, data: Uint8Array, deflated: Deflated | undefined): boolean
}

/** What most connections never have. */
interface Seldom {
  /** It was born in another reactor. */
  id: bigint | undefined
  remote: { address: string; port: number; family: 'IPv4' | 'IPv6' | undefined } | undefined
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
 * One connection, as the reactor that owns it sees it; the words are those of `net.Socket`. Belongs to its reactor's thread and
 * cannot be sent to another: send `id`, and use `server.send(id, bytes)` there. A call after the connection has closed does not throw:
 * it returns false or does nothing, and is counted as `callsAfterClose` (docs/errors.md). An argument of a wrong type always throws.
 */
export class Connection<Data = unknown> {
  // An idle server is mostly made of these: what few connections have lies in #seldom, and nothing is kept twice (docs/memory.md).
  #data: Data
  readonly #engine: Engine
  readonly #slot: number
  readonly #generation: number
  #closed: CloseReason | undefined
  #marks = 0
  #seldom: Seldom | undefined
  // What `internal` shows to the engine.
  protected readonly engineListener: EngineListener
  protected stoppedIn: number = notStopped
  protected seenIn = -1
  protected rawEnd = 0

  /** Connections are made by their reactor. */
  constructor(engine: Engine, listener: EngineListener, slot: number, generation: number, data: Data, id?: bigint) {
    this.#engine = engine
    this.engineListener = listener
    this.#slot = slot
    this.#generation = generation
    this.#data = data
    if (id !== undefined && id !== engine.idOf(slot, generation)) this.#needSeldom().id = id
  }

  /** What the engine and the packages of this repository see of it. */
  get internal(): ConnectionInternals {
    return this as unknown as ConnectionInternals
  }

  /** What `open` returned, or whatever was put there since. */
  get data(): Data {
    return this.#data
  }
  set data(value: Data) {
    // The native side has to know whether something would be lost with this thread.
    const had = this.#data !== undefined
    this.#data = value
    if (had === (value === undefined) && this.isOpen) {
      this.#engine.driver.setHasData(this.#slot, this.#generation, !had)
    }
  }

  /** Opaque, unique over the life of the server, and fit for `postMessage`. */
  get id(): bigint {
    return this.#seldom?.id ?? this.#engine.idOf(this.#slot, this.#generation)
  }

  /** The reactor that owns it: connects to others, on the same thread. */
  get reactor(): ReactorHandle {
    return this.#engine.handle
  }

  /** The name of the listener it came in by; of a client connection, what it was connected to. */
  get listener(): string {
    return this.engineListener.name
  }

  /**
   * Sends bytes. Inside `message` and before its first `await` they take the frame's place in the order; at any other time they
   * go between two replies. Copied before the call returns. False: the peer is slow, wait for `drain`; or the connection has closed.
   * Throws `ERR_MR_DATA`, and `ERR_MR_CONNECTION_CLOSED` between your own `end()` and the close.
   */
  write(data: string | Uint8Array): boolean {
    const most = checkBytes('write()', data)
    if (this.#isLate('write()')) return false
    const engine = this.#engine
    if (engine.current === this && engine.box(this.#slot, this.#generation, data, most)) return true
    const result = engine.driver.write(this.#slot, this.#generation, data, engine.current === this)
    if (result === writeResult.gone) engine.countLateCall()
    else if (result === writeResult.full) this.markWriteFull()
    engine.touched()
    return result === writeResult.belowHigh
  }

  /**
   * Inside `message`: writes text at the frame's place in the order, as `write` does, and asks nothing about room. What many
   * small replies cost is less this way. `ascii`: the text is known to be nothing else (default false). False: the connection has closed; or, outside of
   * `message`, as `write`.
   */
  reply(text: string, options?: { ascii?: boolean }): boolean {
    const most = checkBytes('reply()', text)
    checkOptions('reply()', options, ' such as { ascii: true }')
    const ascii = options?.ascii === true
    const engine = this.#engine
    if (this.#isLate('reply()')) return false
    return (
      (engine.current === this && engine.reply(this.#slot, this.#generation, text, ascii ? text.length : most, ascii)) ||
      this.write(text)
    )
  }

  /**
   * Sends `data`, if given, then everything that is waiting or in flight, then FIN. Nothing is delivered any more. A second `end()` does
   * nothing, and throws `ERR_MR_CONNECTION_CLOSED` if it has data and the connection is still there.
   */
  end(data?: string | Uint8Array): void {
    if (data !== undefined) checkBytes('end()', data)
    if ((this.#marks & goes) === mark.endSaid && data === undefined && this.#closed === undefined) return
    if (this.#isLate('end()')) return
    if (data !== undefined) this.write(data)
    this.#marks |= mark.endSaid
    this.#stop()
    this.#engine.driver.end(this.#slot, this.#generation, this.#engine.current === this)
    this.#engine.touched()
  }

  /**
   * Closes now: one attempt to send what is buffered, and no waiting. What the socket does not take is lost, and so are replies that are
   * still owed; `end()` waits for them. The `close` hook follows with `reason`.
   */
  destroy(reason: CloseReason = 'destroyed'): void {
    const number = closeReasons.indexOf(reason)
    if (number < 0) {
      throw new MultireactorError(
        'ERR_MR_OPTION_RANGE',
        `destroy(): the reason must be one of ${closeReasons.join(', ')}, and is ${shown(reason)}`,
      )
    }
    // One that has failed may wait for a reply that is owed: the app need not.
    if (this.#closed !== undefined || (this.#marks & mark.destroySaid) !== 0) return this.#engine.countLateCall()
    this.#stop()
    this.#marks |= mark.destroySaid
    this.#engine.driver.destroy(this.#slot, this.#generation, number)
    this.#engine.touched()
  }

  /**
   * A hook of it has failed: it closes behind the replies to the frames before. `place`: the first one that the frame itself has in the
   * order; -1: none. Nothing is delivered any more.
   */
  fail(reason: CloseReason, place: number): void {
    if (this.#closed !== undefined || (this.#marks & leaves) !== 0) return
    this.#stop()
    this.#marks |= mark.failed
    this.#engine.driver.fail(this.#slot, this.#generation, closeReasons.indexOf(reason), place)
    this.#engine.touched()
  }

  /** Stops reading. Frames that came behind the current one wait; TCP makes the peer wait. */
  pause(): void {
    if (this.#isGone()) return
    this.#marks |= mark.paused
    this.#stopReading()
  }

  /** Goes on reading. */
  resume(): void {
    if (this.#isGone()) return
    this.#marks &= ~mark.paused
    if ((this.#marks & mark.full) === 0) this.#goOnReading()
  }

  /** Calls the `timeout` hook after so many milliseconds without any byte in or out; 0 switches it off. Accurate to 16 ms up to 4 s, to a second beyond. */
  setTimeout(milliseconds: number): this {
    checkNumber('setTimeout()', 'milliseconds', milliseconds)
    if (!Number.isInteger(milliseconds) || milliseconds < 0 || milliseconds > 0x7fff_ffff) {
      throw new MultireactorError(
        'ERR_MR_OPTION_RANGE',
        `setTimeout(): 'milliseconds' must be a whole number from 0 to 2147483647, and is ${shown(milliseconds)}`,
      )
    }
    if (!this.#isGone()) this.#engine.driver.setTimeoutMs(this.#slot, this.#generation, milliseconds)
    return this
  }

  setNoDelay(on = true): this {
    checkBoolean('setNoDelay()', 'on', on)
    if (!this.#isGone()) this.#engine.driver.setNoDelay(this.#slot, this.#generation, on)
    return this
  }

  /** `initialDelayMs`: of silence before the first probe, counted in whole seconds; 0 leaves it as it is. */
  setKeepAlive(on = false, initialDelayMs = 0): this {
    checkBoolean('setKeepAlive()', 'on', on)
    checkNumber('setKeepAlive()', 'initialDelayMs', initialDelayMs)
    if (!(initialDelayMs >= 0 && initialDelayMs <= 0x7fff_ffff)) {
      throw new MultireactorError(
        'ERR_MR_OPTION_RANGE',
        `setKeepAlive(): 'initialDelayMs' must be from 0 to 2147483647, and is ${shown(initialDelayMs)}`,
      )
    }
    if (!this.#isGone()) this.#engine.driver.setKeepAlive(this.#slot, this.#generation, on, Math.ceil(initialDelayMs / 1000))
    return this
  }

  /**
   * Cuts everything behind the current frame by another framing: for upgrades and STARTTLS. Does nothing when the connection has closed.
   */
  setFraming(framing: Framing): void {
    checkFraming(framing)
    if (this.#isLate('setFraming()')) return
    const rawEnd = this.#rawEnd()
    this.#engine.setFraming(this.#slot, this.#generation, framing, rawEnd)
    this.#needSeldom().framing = framing
    if (rawEnd !== outsideMessage) this.#stop()
    this.#engine.touched()
  }

  /**
   * A `stream.Duplex` that looks like a `net.Socket`, for code that was written for one. The connection is the stream's from then on:
   * its bytes, from behind the current frame, pass no hook any more, its writes are the stream's, and only `close` is still called. It
   * lives in this thread: a reload waits for it (docs/existing-servers.md). Throws `ERR_MR_STATE` for a connection that has a stream
   * already, is piped or was told to move. A connection that has closed, or that the peer or the server ends just now, gives a destroyed
   * stream.
   */
  toDuplex(options: DuplexOptions = {}): ConnectionDuplex {
    const read = new OptionReader('toDuplex()', options, ['allowHalfOpen', 'highWaterMark'])
    read.boolean('allowHalfOpen', false)
    read.integer('highWaterMark', 0, 0, 0x7fff_ffff)
    const engine = this.#engine
    if (this.#isLate('toDuplex()')) return this.#deadDuplex(options)
    if (!engine.driver.stream(this.#slot, this.#generation)) {
      if (this.#wasPlaced())
        throw new MultireactorError('ERR_MR_STATE', 'toDuplex(): the connection is piped, or was told to move')
      engine.countLateCall()
      return this.#deadDuplex(options)
    }
    if (!isPlain(this.framing)) this.setFraming(plain)
    this.#marks = (this.#marks & ~(mark.paused | mark.full)) | mark.unheard
    engine.driver.resume(this.#slot, this.#generation)
    const duplex = this.#newDuplex(options)
    this.#needSeldom().stream = duplex.internal
    engine.streams.add(this)
    return duplex
  }

  /**
   * Hands a frame to `parse` in the pool; the reply leaves at this frame's place in the order. Copied before the call returns. Does
   * nothing when the connection has closed. Throws `ERR_MR_DATA`, `ERR_MR_NO_POOL` (there is no pool, or the app has no `parse`), and
   * `ERR_MR_CONNECTION_CLOSED` between your own `end()` and the close.
   */
  submit(frame: string | Uint8Array): void {
    checkBytes('submit()', frame)
    this.#engine.checkPool('submit()', this.engineListener)
    if (this.#isLate('submit()')) return
    const engine = this.#engine
    const sequence = engine.driver.submit(this.#slot, this.#generation, frame, submitHow.reply) ?? -1
    if (sequence === -1) engine.countLateCall()
    else if (engine.current === this && engine.place === -1) engine.place = sequence
    engine.touched()
  }

  /**
   * Runs `parse` in the pool and resolves to what it returned, its parts joined. Takes no place in the order: write the result,
   * or use `defer()`. Rejects with the error of `parse`, or `ERR_MR_CONNECTION_CLOSED`. Throws only for a mistake of its caller:
   * `ERR_MR_DATA`, `ERR_MR_NO_POOL`, `ERR_MR_STATE`.
   */
  run(frame: string | Uint8Array): Promise<Buffer> {
    checkBytes('run()', frame)
    this.#engine.checkPool('run()', this.engineListener)
    return this.#run('run()', frame, submitHow.run)
  }

  /**
   * Runs `task` of the app in the pool on a copy of `value`, and resolves to a copy of what it returned or resolved to. Values go as
   * `v8.serialize` takes them: what `structuredClone` takes, without transferables. They count in bytes, like frames. Takes no place in
   * the order. Rejects and throws as `run` does; `ERR_MR_DATA` for what cannot be copied.
   */
  runTask<Result = unknown>(value: unknown): Promise<Result> {
    const bytes = valueBytes('runTask(): the value', value)
    this.#engine.checkPool('runTask()', this.engineListener, 'task')
    return ignorable(this.#run('runTask()', bytes, submitHow.value).then((result) => valueFrom(result) as Result))
  }

  #run(call: string, bytes: string | Uint8Array, how: number): Promise<Buffer> {
    // The peer may leave at any time: who awaits the result is told there.
    if (!this.isOpen) return this.#rejectedRun(call)
    if (this.stream) throw streamed(call)
    const number = this.#engine.driver.submit(this.#slot, this.#generation, bytes, how) ?? -1
    this.#engine.touched()
    if (number === -2) {
      return Promise.reject(new MultireactorError('ERR_MR_QUEUE_FULL', `${call}: the task queue is full, and the server rejects`))
    }
    if (number < 0) return this.#rejectedRun(call)
    const seldom = this.#needSeldom()
    seldom.runs ??= new Set()
    seldom.runs.add(number)
    return this.#engine.awaitRun(number, call)
  }

  /**
   * Holds this frame's place in the order open, for a handler that answers later. Of a connection that has closed: a reply whose `write`
   * and `end` return false. Throws `ERR_MR_CONNECTION_CLOSED` between your own `end()` and the close.
   */
  defer(): DeferredReply {
    // -1: the connection has closed.
    const engine = this.#engine
    const sequence = this.#isLate('defer()') ? -1 : (engine.driver.defer(this.#slot, this.#generation) ?? -1)
    if (engine.current === this && engine.place === -1) engine.place = sequence
    return new DeferredReply(engine, this.#slot, this.#generation, sequence)
  }

  /**
   * Hands the connection to another reactor of the server, with what it has received in part, what it has not sent yet and its
   * timers, as soon as no frame of it is in flight and no hook of it is pending. Its data goes the way of a reload: `suspend`
   * here, `restore` there. Reading stops at once; this object is dead after the move. Does nothing when the connection has closed.
   */
  moveTo(reactor: number): void {
    if (!Number.isInteger(reactor) || reactor < 0) throw noSuchReactor(reactor)
    if (this.#isLate('moveTo()')) return
    if (this.framing !== this.engineListener.framing && this.framing.cut) {
      throw new MultireactorError(
        'ERR_MR_STATE',
        'moveTo(): the custom framing of setFraming() is a function of this thread and cannot go along',
      )
    }
    if (this.secure) {
      throw new MultireactorError(
        'ERR_MR_STATE',
        'moveTo(): the keys of a TLS connection live in this thread and cannot go along',
      )
    }
    if (this.#engine.driver.staysHere(this.#slot, this.#generation)) {
      throw new MultireactorError(
        'ERR_MR_STATE',
        'moveTo(): a client connection, and one that is piped, stays with the reactor that it belongs to',
      )
    }
    const rawEnd = this.#rawEnd()
    if (!this.#engine.driver.moveTo(this.#slot, this.#generation, reactor, rawEnd)) {
      if (this.#details() !== undefined) throw noSuchReactor(reactor)
      return this.#engine.countLateCall()
    }
    if (reactor === this.#engine.index) return
    this.#marks |= mark.placed
    this.#stop()
  }

  /**
   * The connection is to close as soon as what is in flight has been answered: its reactor closes; or it has TLS, and its thread is about
   * to be replaced by the next one, which cannot go on with it.
   */
  get draining(): boolean {
    return this.#engine.draining || (this.#engine.closing && this.secure !== undefined)
  }

  /** Reports an error as if a hook had thrown it, and leaves the connection open. */
  reportError(error: unknown, hook = 'message'): void {
    this.#engine.report(error, hook, this.engineListener.name)
  }

  /**
   * Gets what is published to `topic` from now on, whoever publishes it and on whatever thread. It goes between two replies. Kept with
   * the connection: a reload, the death of the thread and `moveTo` change nothing. False: it had subscribed before, and only the
   * options are new; or the connection has closed. Throws `ERR_MR_TOPIC`, `ERR_MR_TOO_MANY_SUBSCRIPTIONS`, and
   * `ERR_MR_CONNECTION_CLOSED` between your own `end()` and the close.
   */
  subscribe(topic: string, options: SubscribeOptions = {}): boolean {
    checkTopic('subscribe()', topic)
    const slow = new OptionReader('subscribe()', options, ['slow']).oneOf('slow', 'close', slowPolicies)
    if (this.#isLate('subscribe()')) return false
    const done = this.#engine.driver.subscribe(this.#slot, this.#generation, topic, slowPolicies.indexOf(slow))
    if (done === subscribeResult.gone) this.#engine.countLateCall()
    if (done === subscribeResult.tooMany || done === subscribeResult.tooLong) {
      const [most, option] =
        done === subscribeResult.tooMany
          ? ['subscriptions', 'maxSubscriptions']
          : ['bytes of topic names', 'maxSubscriptionBytes']
      throw new MultireactorError(
        'ERR_MR_TOO_MANY_SUBSCRIPTIONS',
        `subscribe(): this connection has as many ${most} as it may have; raise ${option} of the app, or use fewer topics`,
      )
    }
    return done === subscribeResult.done
  }

  /** Ends a subscription. What was published before may still come. False when there was none, or the connection is closed. */
  unsubscribe(topic: string): boolean {
    checkTopic('unsubscribe()', topic)
    return !this.#isGone() && this.#engine.driver.unsubscribe(this.#slot, this.#generation, topic) === true
  }

  /**
   * Sends bytes to every connection of the server that has subscribed to `topic`, as `server.publish` does. Copied once, before the call
   * returns. False: refused, since 64 MiB of publications wait to be delivered; or this connection has closed. Throws `ERR_MR_TOPIC`,
   * `ERR_MR_DATA`, and `ERR_MR_CONNECTION_CLOSED` between your own `end()` and the close.
   */
  publish(topic: string, data: string | Uint8Array): boolean {
    checkTopic('publish()', topic)
    checkBytes('publish()', data)
    if (this.#isLate('publish()')) return false
    const deflated = deflatedFormOf(data)
    return this.#engine.driver.publish(topic, data, deflated?.bytes, deflated?.windowBits) >= 0
  }

  /** The topics that it has subscribed to, in no order. */
  get subscriptions(): string[] {
    return (this.#closed ? undefined : this.#engine.driver.subscriptions(this.#slot, this.#generation)) ?? []
  }

  /**
   * From now on the bytes of each connection go to the other, in both directions, and no `message`, `end` or `drain` is called
   * for either: with backpressure, half-close passed on, and a reset as a reset. The frame at hand, and what was delivered
   * before, is yours; what follows it, paused or half received, goes through. Both go on reading. When one closes the other does,
   * for the same reason. False: one of them has closed, or the peer or the server ends it just now; then neither is piped. Throws
   * `ERR_MR_STATE` when one of them has frames in flight, was told to move, or is piped already, `ERR_MR_WRONG_THREAD` when they are of
   * two reactors, and `ERR_MR_CONNECTION_CLOSED` between your own `end()` of one of them and its close.
   */
  pipe(other: Connection<unknown>): boolean {
    if (!(other instanceof Connection)) {
      throw new MultireactorError('ERR_MR_OPTION_TYPE', `pipe(): must be a connection, and is ${shown(other)}`)
    }
    if (this.#isLate('pipe()') || other.#isLate('pipe()')) return false
    if (other.#engine !== this.#engine) {
      throw new MultireactorError('ERR_MR_WRONG_THREAD', 'pipe(): both connections must belong to the same reactor')
    }
    const driver = this.#engine.driver
    const done = driver.pipe(this.#slot, this.#generation, this.#rawEnd(), other.#slot, other.#generation, other.#rawEnd()) ?? 0
    if (done === pipeResult.gone && !this.#wasPlaced() && !other.#wasPlaced()) {
      this.#engine.countLateCall()
      return false
    }
    if (done !== pipeResult.done) {
      throw new MultireactorError(
        'ERR_MR_STATE',
        'pipe(): both must be two connections without frames in flight, not told to move, not piped already and without TLS: pause() one in open() until the other is connected',
      )
    }
    for (const one of [this, other]) {
      one.#marks = (one.#marks & ~(mark.paused | mark.full)) | mark.unheard | mark.placed
      one.#stop()
    }
    this.#engine.touched()
    return true
  }

  /** Whether it came by a listener with `tls`. */
  get encrypted(): boolean {
    return this.secure !== undefined
  }
  /** What `node:tls` knows of the connection: `alpnProtocol`, `servername`, `authorized`, `getPeerCertificate()`… Not for reading or writing. */
  get tls(): TlsInfo | undefined {
    return this.secure?.socket as TlsInfo | undefined
  }

  get remoteAddress(): string | undefined {
    return this.#peer()?.address
  }
  get remotePort(): number | undefined {
    return this.#peer()?.port
  }
  get remoteFamily(): 'IPv4' | 'IPv6' | undefined {
    return this.#peer()?.family
  }
  get localAddress(): string | undefined {
    return this.#closed ? undefined : this.#engine.driver.localAddress(this.#slot, this.#generation)?.[0]
  }
  get localPort(): number | undefined {
    return this.#closed ? undefined : this.#engine.driver.localAddress(this.#slot, this.#generation)?.[1]
  }
  get bytesRead(): number {
    return this.#seldom?.finalCounts?.read ?? this.#details()?.[3] ?? 0
  }
  get bytesWritten(): number {
    return this.#seldom?.finalCounts?.written ?? this.#details()?.[4] ?? 0
  }
  /** Bytes that wait to be sent, held replies included. */
  get writableLength(): number {
    return this.#details()?.[5] ?? 0
  }
  /** Frames submitted and not settled. */
  get inFlight(): number {
    return this.#details()?.[6] ?? 0
  }
  /** True once the connection is closed, or about to be because of `destroy()`. */
  get destroyed(): boolean {
    return this.#closed !== undefined || (this.#marks & leaves) !== 0 || this.#details() === undefined
  }

  /** Called by the engine, once. */
  markClosed(reason: CloseReason, read: number, written: number): void {
    this.#peer()
    this.#closed = reason
    this.#needSeldom().finalCounts = { read, written }
  }

  /** Called by the engine: it lives in another thread from now on. */
  markMoved(): void {
    this.#peer()
    this.markLeft()
  }

  /** Called by the engine when this thread does not drive its reactor any more. */
  markLeft(): void {
    this.#closed ??= 'destroyed'
  }

  /** Called by the engine when it takes over a connection whose end was said in another thread. */
  markEnded(): void {
    this.#marks |= mark.endSaid
  }

  get isOpen(): boolean {
    return this.#closed === undefined && (this.#marks & goes) === 0
  }

  /**
   * A promise of a hook is pending, or no longer: it would be lost with this thread. Returns the place in the order that a frame would
   * have now, or -1.
   */
  hold(on: boolean): number {
    return this.#closed === undefined ? this.#engine.driver.hold(this.#slot, this.#generation, on) : -1
  }

  /**
   * The result of a `message` hook that has just returned is a promise. While `maxPendingMessages` of them have not settled, the
   * connection is not read, and what has been cut behind the frame of that hook waits. Returns what `hold` does.
   */
  messagePending(): number {
    if (this.#closed !== undefined) return -1
    const seldom = this.#needSeldom()
    const place = this.hold(true)
    if (++seldom.pending < this.engineListener.maxPending || (this.#marks & neverStops) !== 0) return place
    this.#marks |= mark.full
    this.#stopReading()
    return place
  }

  /**
   * The result of `open` is a promise: until it has settled nothing is read and no frame is delivered. `opened` and `failed` are called before
   * that ends, so that no frame comes behind a failure.
   */
  whileOpening<T>(result: PromiseLike<T>, opened: (value: T) => void, failed: (error: unknown) => void): void {
    this.#openPending()
    const settled = (): void => this.#settled(this.engineListener.maxPending)
    void Promise.resolve(result).then(opened, failed).finally(settled)
  }

  /** It stands for as many as may be pending. */
  #openPending(): void {
    if (this.#closed !== undefined) return
    const seldom = this.#needSeldom()
    this.hold(true)
    seldom.pending += this.engineListener.maxPending
    if ((this.#marks & neverStops) !== 0) return
    this.#marks |= mark.full
    this.#stopReading()
  }

  /** One that `messagePending` was told of has settled. */
  messageSettled(): void {
    this.#settled(1)
  }

  #settled(count: number): void {
    if (this.#closed !== undefined) return
    this.#seldom!.pending -= count
    const { pending } = this.#seldom!
    if (pending < this.engineListener.maxPending) this.#unstop()
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
    if (!this.#engine.driver.stopBehind(this.#slot, this.#generation, this.#rawEnd())) return false
    this.#stop()
    return true
  }

  /** Said by a protocol that delivers no message any more: the connection is read however many hooks are pending. */
  endMessages(): void {
    this.#marks |= mark.unheard
    this.#unstop()
  }

  #unstop(): void {
    if ((this.#marks & mark.full) === 0) return
    this.#marks &= ~mark.full
    if ((this.#marks & mark.paused) === 0) this.#goOnReading()
  }

  /** It is not read because of pending `message` hooks. */
  get isFull(): boolean {
    return (this.#marks & mark.full) !== 0
  }

  /** Memory for bytes of the peer that wait in JavaScript: `limits.memory` counts it until it is collected. */
  get allocate(): Allocate {
    return this.#engine.allocate
  }

  /** Keeps `state` for the next thread. */
  keepState(state: Uint8Array): void {
    if (this.#closed === undefined) this.#engine.driver.keepState(this.#slot, this.#generation, state)
  }

  /** Goes to the sibling that `moveTo` named. */
  moveNow(state: Uint8Array | undefined): void {
    if (this.#closed === undefined) this.#engine.driver.moveNow(this.#slot, this.#generation, state)
  }

  #stopReading(): void {
    this.#stop()
    this.#engine.driver.pause(this.#slot, this.#generation, this.#rawEnd())
  }

  #goOnReading(): void {
    this.#engine.driver.resume(this.#slot, this.#generation)
    this.#engine.touched()
  }

  #stop(): void {
    this.stoppedIn = this.#engine.batch
  }

  /** How much of this batch's bytes the hooks have seen; a hook of another connection may ask too. */
  #rawEnd(): number {
    const batch = this.#engine.batch
    if (batch === -1) return outsideMessage
    return this.seenIn === batch ? this.rawEnd : 0
  }

  #details() {
    return this.#closed ? undefined : this.#engine.driver.details(this.#slot, this.#generation)
  }

  #peer() {
    if (this.#seldom?.remote) return this.#seldom.remote
    const peer = this.#closed ? undefined : this.#engine.driver.peer(this.#slot, this.#generation)
    if (!peer || peer[2] === 0) return undefined
    const remote = { address: peer[0], port: peer[1], family: families[peer[2]] }
    this.#needSeldom().remote = remote
    return remote
  }

  #needSeldom(): Seldom {
    this.#seldom ??= {
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
    return this.#seldom
  }

  protected countLateCall(): void {
    this.#engine.countLateCall()
  }
  protected countDropped(): void {
    this.#engine.countDropped()
  }
  protected awaitRoom(): void {
    this.#engine.driver.write(this.#slot, this.#generation, '', false)
  }
  protected publishFor(topic: string, data: Uint8Array, deflated: Deflated | undefined): boolean {
    return this.#engine.driver.publish(topic, data, deflated?.bytes, deflated?.windowBits) >= 0
  }
  protected get ending(): boolean {
    return this.#engine.draining
  }
  protected get slot(): number {
    return this.#slot
  }
  protected get generation(): number {
    return this.#generation
  }
  protected get runs(): Set<number> | undefined {
    return this.#seldom?.runs
  }
  protected get framing(): Framing {
    return this.#seldom?.framing ?? this.engineListener.framing
  }
  protected get protocol(): Protocol | undefined {
    return this.#seldom?.protocol
  }
  protected set protocol(protocol: Protocol | undefined) {
    this.#needSeldom().protocol = protocol
  }
  protected get resumed(): number {
    return this.#seldom?.resumed ?? 0
  }
  protected set resumed(flags: number) {
    this.#needSeldom().resumed = flags
  }
  protected get stream(): ConnectionStream | undefined {
    return this.#seldom?.stream
  }
  protected get secure(): SecureLayer | undefined {
    return this.#seldom?.secure
  }
  protected set secure(secure: SecureLayer | undefined) {
    this.#needSeldom().secure = secure
  }

  /**
   * Whether the connection has closed, whoever closed it: then a call on it has no effect and is counted. Throws for what the app can
   * know: between its own `end()` and the close, and behind its own `toDuplex()`.
   */
  #isLate(call: string): boolean {
    if (this.#isGone()) return true
    if ((this.#marks & mark.endSaid) !== 0) throw ended(call)
    if (this.stream) throw streamed(call)
    return false
  }

  /** The same for calls that are allowed whoever owns the bytes. */
  #isGone(): boolean {
    if (this.#closed === undefined && (this.#marks & leaves) === 0) return false
    this.#engine.countLateCall()
    return true
  }

  /** Whether the app can know why its connection cannot be piped or streamed: it has piped or moved it itself. */
  #wasPlaced(): boolean {
    return (this.#marks & mark.placed) !== 0 && this.#details() !== undefined
  }

  #rejectedRun(call: string): Promise<never> {
    this.#engine.countLateCall()
    const why = this.#closed ? `has closed (${this.#closed})` : 'has closed or was ended'
    return ignorable(
      Promise.reject(causedByPeer(new MultireactorError('ERR_MR_CONNECTION_CLOSED', `${call}: the connection ${why}`))),
    )
  }

  #newDuplex(options: DuplexOptions): ConnectionDuplex {
    const Kind = this.encrypted ? SecureDuplex : ConnectionDuplex
    return new Kind(this, this.#engine, this.#slot, this.#generation, options)
  }

  #deadDuplex(options: DuplexOptions): ConnectionDuplex {
    const duplex = this.#newDuplex(options)
    duplex.internal.closed('destroyed', 0)
    return duplex
  }
}

/** The peer decides when its connection closes: a promise that rejects because of it, and that nobody looks at, must not end the thread. */
export function ignorable<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

/** A place in the order that is answered later. Parts leave as soon as everything before it has left. */
export class DeferredReply {
  readonly #engine: Engine
  readonly #slot: number
  readonly #generation: number
  readonly #sequence: number
  #done = false

  /** Made by `conn.defer()`. */
  constructor(engine: Engine, slot: number, generation: number, sequence: number) {
    this.#engine = engine
    this.#slot = slot
    this.#generation = generation
    this.#sequence = sequence
  }

  /**
   * One part of the reply. False: the peer is slow, wait for `drain`; or the connection has closed. Throws `ERR_MR_DATA`, and
   * `ERR_MR_CONNECTION_CLOSED` after your own `end()` or `close()` of this reply, while the connection is there.
   */
  write(part: string | Uint8Array): boolean {
    return this.#settle('write()', part, 0) === writeResult.belowHigh
  }

  /** The last part; the order goes on. Without data: no more, and a second time nothing. False: nothing was done. Throws as `write`. */
  end(part: string | Uint8Array = ''): boolean {
    return this.#settle('end()', part, replyFlag.last) !== writeResult.gone
  }

  /** The last part of the last reply: the connection ends behind it, in an orderly way. False and throws as `end`. */
  close(part: string | Uint8Array = ''): boolean {
    return this.#settle('close()', part, replyFlag.last | replyFlag.end) !== writeResult.gone
  }

  /** Cut off: whoever reads must not take it for whole. `now`: the connection is destroyed there, otherwise it ends in an orderly way. */
  cut(now: boolean): void {
    this.#settle('end()', '', replyFlag.last | (now ? replyFlag.destroy : replyFlag.error | replyFlag.end))
  }

  #settle(call: string, part: string | Uint8Array, flags: number): WriteResult {
    checkBytes(call, part)
    const engine = this.#engine
    if (this.#done || this.#sequence < 0) return this.#late(call, part, flags)
    this.#done = (flags & replyFlag.last) !== 0
    const result = engine.driver.settleDeferred(this.#slot, this.#generation, this.#sequence, part, flags) ?? writeResult.gone
    if (result === writeResult.gone) engine.countLateCall()
    else if (result === writeResult.full) engine.stopWhileFull(this.#slot, this.#generation)
    engine.touched()
    return result
  }

  /** The reply has ended, or its connection had closed before. */
  #late(call: string, part: string | Uint8Array, flags: number): WriteResult {
    const isThere = this.#sequence >= 0 && this.#engine.isThere(this.#slot, this.#generation)
    if (!isThere) this.#engine.countLateCall()
    else if (flags === 0 || part.length > 0) throw ended(`${call} of a deferred reply`)
    return writeResult.gone
  }
}

const plain = raw()

function isPlain(framing: Framing): boolean {
  return framing.native.kind === plain.native.kind && framing.native.maxBytes === plain.native.maxBytes
}

function streamed(call: string): MultireactorError {
  return new MultireactorError('ERR_MR_STATE', `${call}: toDuplex() was called: use the stream`)
}

function ended(call: string): MultireactorError {
  return new MultireactorError('ERR_MR_CONNECTION_CLOSED', `${call}: end() was called, and nothing can follow it`)
}

function noSuchReactor(reactor: unknown): MultireactorError {
  return new MultireactorError(
    'ERR_MR_OPTION_RANGE',
    `moveTo(): must be the number of a running reactor of this server, and is ${shown(reactor)}`,
  )
}

function checkFraming(framing: unknown): void {
  if (isFraming(framing)) return
  throw new MultireactorError('ERR_MR_OPTION_TYPE', `setFraming(): must be a framing such as lines(), and is ${shown(framing)}`)
}

/** How many bytes it has at most: `mostBytesOf`. */
export function checkBytes(call: string, data: unknown): number {
  const most = mostBytesOf(data)
  if (most >= 0) return most
  throw new MultireactorError('ERR_MR_DATA', `${call}: the data must be a string or Uint8Array, and is ${shown(data)}`)
}

function checkBoolean(call: string, name: string, value: unknown): void {
  if (typeof value === 'boolean') return
  throw new MultireactorError('ERR_MR_OPTION_TYPE', `${call}: '${name}' must be true or false, and is ${shown(value)}`)
}

function checkOptions(call: string, options: unknown, example = ''): void {
  if (options === undefined || (typeof options === 'object' && options !== null)) return
  throw new MultireactorError('ERR_MR_OPTION_TYPE', `${call}: the options must be an object${example}, and are ${shown(options)}`)
}

function checkNumber(call: string, name: string, value: unknown): void {
  if (typeof value === 'number') return
  throw new MultireactorError('ERR_MR_OPTION_TYPE', `${call}: '${name}' must be a number, and is ${shown(value)}`)
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
