import {
  causedByPeer,
  closeReasons,
  type CloseReason,
  MultireactorError,
  OptionReader,
  pipeResult,
  shown,
  slowPolicies,
  submitHow,
  subscribeResult,
  valueBytes,
  valueFrom,
  writeResult,
} from '@multireactor/addon'
import { checkBoolean, checkBytes, checkFraming, checkNumber, checkOptions, noSuchReactor, streamed } from './call_checks.js'
import type { Connection, TlsInfo } from './connection.js'
import { ConnectionLink, goes, leaves, mark, outsideMessage } from './connection_link.js'
import { HeldReply } from './held_reply.js'
import { deflatedFormOf } from './deflated_forms.js'
import { ConnectionDuplex, type DuplexOptions } from './duplex.js'
import { type Framing, raw } from './framing.js'
import type { ReactorHandle } from './handle.js'
import { ignorable } from './pool_runs.js'
import { SecureDuplex } from './secure_duplex.js'
import type { ConnectionStream } from './stream.js'
import { checkTopic, type SubscribeOptions } from './topics.js'

const plain = raw()

/** The users' calls on a connection; `connection.ts` documents each. */
export class LiveConnection<Data = unknown> extends ConnectionLink<Data> {
  get data(): Data {
    return this.value
  }

  set data(value: Data) {
    // The native side has to know whether something would be lost with this thread.
    const had = this.value !== undefined
    this.value = value
    if (had === (value === undefined) && this.isOpen) {
      this.engine.driver.setHasData(this.slot, this.generation, !had)
    }
  }

  get id(): bigint {
    return this.seldom?.id ?? this.engine.idOf(this.slot, this.generation)
  }

  get reactor(): ReactorHandle {
    return this.engine.handle
  }

  get listener(): string {
    return this.engineListener.name
  }

  write(data: string | Uint8Array): boolean {
    const most = checkBytes('write()', data)
    if (this.isLate('write()')) return false
    const engine = this.engine
    if (engine.current === this && engine.box(this.slot, this.generation, data, most)) return true
    const result = engine.driver.write(this.slot, this.generation, data, engine.current === this)
    if (result === writeResult.gone) engine.countLateCall()
    else if (result === writeResult.full) this.markWriteFull()
    engine.touched()
    return result === writeResult.belowHigh
  }

  reply(text: string, options?: { ascii?: boolean }): boolean {
    const most = checkBytes('reply()', text)
    checkOptions('reply()', options, ' such as { ascii: true }')
    const ascii = options?.ascii === true
    const engine = this.engine
    if (this.isLate('reply()')) return false
    return (
      (engine.current === this && engine.reply(this.slot, this.generation, text, ascii ? text.length : most, ascii)) ||
      this.write(text)
    )
  }

  end(data?: string | Uint8Array): void {
    if (data !== undefined) checkBytes('end()', data)
    if ((this.marks & goes) === mark.endSaid && data === undefined && this.closed === undefined) return
    if (this.isLate('end()')) return
    if (data !== undefined) this.write(data)
    this.marks |= mark.endSaid
    this.stop()
    this.engine.driver.end(this.slot, this.generation, this.engine.current === this)
    this.engine.touched()
  }

  destroy(reason: CloseReason = 'destroyed'): void {
    const number = closeReasons.indexOf(reason)
    if (number < 0) {
      throw new MultireactorError(
        'ERR_MR_OPTION_RANGE',
        `destroy(): the reason must be one of ${closeReasons.join(', ')}, and is ${shown(reason)}`,
      )
    }
    // One that has failed may wait for a reply that is owed: the app need not.
    if (this.closed !== undefined || (this.marks & mark.destroySaid) !== 0) return this.engine.countLateCall()
    this.stop()
    this.marks |= mark.destroySaid
    this.engine.driver.destroy(this.slot, this.generation, number)
    this.engine.touched()
  }

  pause(): void {
    if (this.isGone()) return
    this.marks |= mark.paused
    this.stopReading()
  }

  resume(): void {
    if (this.isGone()) return
    this.marks &= ~mark.paused
    if ((this.marks & mark.full) === 0) this.goOnReading()
  }

  setTimeout(milliseconds: number): this {
    checkNumber('setTimeout()', 'milliseconds', milliseconds)
    if (!Number.isInteger(milliseconds) || milliseconds < 0 || milliseconds > 0x7fff_ffff) {
      throw new MultireactorError(
        'ERR_MR_OPTION_RANGE',
        `setTimeout(): 'milliseconds' must be a whole number from 0 to 2147483647, and is ${shown(milliseconds)}`,
      )
    }
    if (!this.isGone()) this.engine.driver.setTimeoutMs(this.slot, this.generation, milliseconds)
    return this
  }

  setNoDelay(on = true): this {
    checkBoolean('setNoDelay()', 'on', on)
    if (!this.isGone()) this.engine.driver.setNoDelay(this.slot, this.generation, on)
    return this
  }

  setKeepAlive(on = false, initialDelayMs = 0): this {
    checkBoolean('setKeepAlive()', 'on', on)
    checkNumber('setKeepAlive()', 'initialDelayMs', initialDelayMs)
    if (!(initialDelayMs >= 0 && initialDelayMs <= 0x7fff_ffff)) {
      throw new MultireactorError(
        'ERR_MR_OPTION_RANGE',
        `setKeepAlive(): 'initialDelayMs' must be from 0 to 2147483647, and is ${shown(initialDelayMs)}`,
      )
    }
    if (!this.isGone()) this.engine.driver.setKeepAlive(this.slot, this.generation, on, Math.ceil(initialDelayMs / 1000))
    return this
  }

  setFraming(framing: Framing): void {
    checkFraming(framing)
    if (this.isLate('setFraming()')) return
    const rawEnd = this.handedEnd()
    this.engine.setFraming(this.slot, this.generation, framing, rawEnd)
    this.needSeldom().framing = framing
    if (rawEnd !== outsideMessage) this.stop()
    this.engine.touched()
  }

  toDuplex(options: DuplexOptions = {}): ConnectionDuplex {
    const read = new OptionReader('toDuplex()', options, ['allowHalfOpen', 'highWaterMark'])
    read.boolean('allowHalfOpen', false)
    read.integer('highWaterMark', 0, 0, 0x7fff_ffff)
    const engine = this.engine
    if (this.isLate('toDuplex()')) return this.#deadDuplex(options)
    if (!engine.driver.stream(this.slot, this.generation)) {
      if (this.wasPlaced())
        throw new MultireactorError('ERR_MR_STATE', 'toDuplex(): the connection is piped, or was told to move')
      engine.countLateCall()
      return this.#deadDuplex(options)
    }
    if (!isPlain(this.framing)) this.setFraming(plain)
    this.marks = (this.marks & ~(mark.paused | mark.full)) | mark.unheard
    engine.driver.resume(this.slot, this.generation)
    const duplex = this.#newDuplex(options, (stream) => {
      this.needSeldom().stream = stream
    })
    engine.streams.add(this)
    return duplex
  }

  submit(frame: string | Uint8Array): void {
    checkBytes('submit()', frame)
    this.engine.checkPool('submit()', this.engineListener)
    if (this.isLate('submit()')) return
    const engine = this.engine
    const sequence = engine.driver.submit(this.slot, this.generation, frame, submitHow.reply) ?? -1
    if (sequence === -1) engine.countLateCall()
    else if (engine.current === this && engine.place === -1) engine.place = sequence
    engine.touched()
  }

  run(frame: string | Uint8Array): Promise<Buffer> {
    checkBytes('run()', frame)
    this.engine.checkPool('run()', this.engineListener)
    return this.#run('run()', frame, submitHow.run)
  }

  runTask<Result = unknown>(value: unknown): Promise<Result> {
    const bytes = valueBytes('runTask(): the value', value)
    this.engine.checkPool('runTask()', this.engineListener, 'task')
    return ignorable(this.#run('runTask()', bytes, submitHow.value).then((result) => valueFrom(result) as Result))
  }

  #run(call: string, bytes: string | Uint8Array, how: number): Promise<Buffer> {
    // The peer may leave at any time: the awaiting caller gets the error there.
    if (!this.isOpen) return this.#rejectedRun(call)
    if (this.stream) throw streamed(call)
    const number = this.engine.driver.submit(this.slot, this.generation, bytes, how) ?? -1
    this.engine.touched()
    if (number === -2) {
      return Promise.reject(new MultireactorError('ERR_MR_QUEUE_FULL', `${call}: the task queue is full, and the server rejects`))
    }
    if (number < 0) return this.#rejectedRun(call)
    const seldom = this.needSeldom()
    seldom.runs ??= new Set()
    seldom.runs.add(number)
    return this.engine.awaitRun(number, call)
  }

  defer(): HeldReply {
    // -1: the connection has closed.
    const engine = this.engine
    const sequence = this.isLate('defer()') ? -1 : (engine.driver.defer(this.slot, this.generation) ?? -1)
    if (engine.current === this && engine.place === -1) engine.place = sequence
    return new HeldReply(engine, this.slot, this.generation, sequence)
  }

  moveTo(reactor: number): void {
    if (!Number.isInteger(reactor) || reactor < 0) throw noSuchReactor(reactor)
    if (this.isLate('moveTo()')) return
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
    if (this.engine.driver.staysHere(this.slot, this.generation)) {
      throw new MultireactorError(
        'ERR_MR_STATE',
        'moveTo(): a client connection, and one that is piped, stays with the reactor that it belongs to',
      )
    }
    const rawEnd = this.handedEnd()
    if (!this.engine.driver.moveTo(this.slot, this.generation, reactor, rawEnd)) {
      if (this.details() !== undefined) throw noSuchReactor(reactor)
      return this.engine.countLateCall()
    }
    if (reactor === this.engine.index) return
    this.marks |= mark.placed
    this.stop()
  }

  get draining(): boolean {
    return this.engine.draining || (this.engine.closing && this.secure !== undefined)
  }

  reportError(error: unknown, hook = 'message'): void {
    this.engine.report(error, hook, this.engineListener.name)
  }

  subscribe(topic: string, options: SubscribeOptions = {}): boolean {
    checkTopic('subscribe()', topic)
    const slow = new OptionReader('subscribe()', options, ['slow']).oneOf('slow', 'close', slowPolicies)
    if (this.isLate('subscribe()')) return false
    const done = this.engine.driver.subscribe(this.slot, this.generation, topic, slowPolicies.indexOf(slow))
    if (done === subscribeResult.gone) this.engine.countLateCall()
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

  unsubscribe(topic: string): boolean {
    checkTopic('unsubscribe()', topic)
    return !this.isGone() && this.engine.driver.unsubscribe(this.slot, this.generation, topic) === true
  }

  publish(topic: string, data: string | Uint8Array): boolean {
    checkTopic('publish()', topic)
    checkBytes('publish()', data)
    if (this.isLate('publish()')) return false
    const deflated = deflatedFormOf(data)
    return this.engine.driver.publish(topic, data, deflated?.bytes, deflated?.windowBits) >= 0
  }

  get subscriptions(): string[] {
    return (this.closed ? undefined : this.engine.driver.subscriptions(this.slot, this.generation)) ?? []
  }

  pipe(other: Connection<unknown>): boolean {
    if (!(other instanceof LiveConnection)) {
      throw new MultireactorError('ERR_MR_OPTION_TYPE', `pipe(): must be a connection, and is ${shown(other)}`)
    }
    if (this.isLate('pipe()') || other.isLate('pipe()')) return false
    if (other.engine !== this.engine) {
      throw new MultireactorError('ERR_MR_WRONG_THREAD', 'pipe(): both connections must belong to the same reactor')
    }
    const driver = this.engine.driver
    const done = driver.pipe(this.slot, this.generation, this.handedEnd(), other.slot, other.generation, other.handedEnd()) ?? 0
    if (done === pipeResult.gone && !this.wasPlaced() && !other.wasPlaced()) {
      this.engine.countLateCall()
      return false
    }
    if (done !== pipeResult.done) {
      throw new MultireactorError(
        'ERR_MR_STATE',
        'pipe(): both must be two connections without frames in flight, not told to move, not piped already and without TLS: pause() one in open() until the other is connected',
      )
    }
    for (const one of [this, other]) {
      one.marks = (one.marks & ~(mark.paused | mark.full)) | mark.unheard | mark.placed
      one.stop()
    }
    this.engine.touched()
    return true
  }

  get encrypted(): boolean {
    return this.secure !== undefined
  }

  get tls(): TlsInfo | undefined {
    return this.secure?.socket as TlsInfo | undefined
  }

  get remoteAddress(): string | undefined {
    return this.peerAddress()?.address
  }

  get remotePort(): number | undefined {
    return this.peerAddress()?.port
  }

  get remoteFamily(): 'IPv4' | 'IPv6' | undefined {
    return this.peerAddress()?.family
  }

  get localAddress(): string | undefined {
    return this.closed ? undefined : this.engine.driver.localAddress(this.slot, this.generation)?.[0]
  }

  get localPort(): number | undefined {
    return this.closed ? undefined : this.engine.driver.localAddress(this.slot, this.generation)?.[1]
  }

  get bytesRead(): number {
    return this.seldom?.finalCounts?.read ?? this.details()?.[3] ?? 0
  }

  get bytesWritten(): number {
    return this.seldom?.finalCounts?.written ?? this.details()?.[4] ?? 0
  }

  get writableLength(): number {
    return this.details()?.[5] ?? 0
  }

  get inFlight(): number {
    return this.details()?.[6] ?? 0
  }

  get destroyed(): boolean {
    return this.closed !== undefined || (this.marks & leaves) !== 0 || this.details() === undefined
  }

  #rejectedRun(call: string): Promise<never> {
    this.engine.countLateCall()
    const why = this.closed ? `has closed (${this.closed})` : 'has closed or was ended'
    return ignorable(
      Promise.reject(causedByPeer(new MultireactorError('ERR_MR_CONNECTION_CLOSED', `${call}: the connection ${why}`))),
    )
  }

  #newDuplex(options: DuplexOptions, owns: (stream: ConnectionStream) => void): ConnectionDuplex {
    const Kind = this.encrypted ? SecureDuplex : ConnectionDuplex
    return new Kind({ link: this, engine: this.engine, options, owns })
  }

  #deadDuplex(options: DuplexOptions): ConnectionDuplex {
    let side: ConnectionStream | undefined
    const duplex = this.#newDuplex(options, (stream) => {
      side = stream
    })
    side!.closed('destroyed', 0)
    return duplex
  }
}

function isPlain(framing: Framing): boolean {
  return framing.native.kind === plain.native.kind && framing.native.maxBytes === plain.native.maxBytes
}
