// A connection as the broker sees it: a stream that gives one whole packet after the other, and never makes a publisher wait for a subscriber.
import { Duplex } from 'node:stream'
import type { Connection } from 'multireactor'
import { limits } from './limits.ts'

const publish = 3

type Callback = (error?: Error | null) => void

/** How far the client has come: to no broker yet, to the broker, to its CONNACK. */
type Phase = 'waiting' | 'connecting' | 'served'

export class PacketStream extends Duplex {
  /** The user, by its credentials. */
  user: string | undefined
  /** Its CONNECT is refused with this code. */
  refusal: number | undefined
  /** The highest QoS of its subscriptions: nothing goes out with a higher one. */
  mostQos: 0 | 1 | 2 = 0
  /** Its filters. */
  readonly subscribed = new Set<string>()
  /** The publication before has reached all reactors. */
  lastPublication: Promise<unknown> = Promise.resolve()
  // biome-ignore lint/suspicious/noExplicitAny: the type of the connection's data does not matter here
  readonly #connection: Connection<any>
  #phase: Phase = 'waiting'
  #packet: Buffer | undefined
  /** Sizes of publications of this client that have not been told to every reactor, and their sum. */
  readonly #publishing: number[] = []
  #publishingBytes = 0
  #readerIsFull = false
  #stopped = false
  #end: 'asked' | 'passed' | undefined
  #connectionIsClosed = false
  #writerIsFull = false

  // biome-ignore lint/suspicious/noExplicitAny: as above
  constructor(connection: Connection<any>) {
    // The out buffer of the connection bounds the writes: nothing waits here.
    super({ allowHalfOpen: true, readableHighWaterMark: limits.publishingBytes, writableHighWaterMark: Number.MAX_SAFE_INTEGER })
    this.#connection = connection
  }

  /** It does not read: more than `outBuffer.high` waits for it. */
  get isSlow(): boolean {
    return this.#writerIsFull
  }

  // ---------------------------------------------------------------- from the peer

  /** One packet, of the connection's `message` hook. */
  receive(packet: Buffer): void {
    this.#packet = packet
    this.#goOn()
  }

  /** Resolves when the stream has closed. */
  finish(): Promise<void> {
    this.#end ??= 'asked'
    this.#goOn()
    return new Promise((resolve) => (this.destroyed ? resolve() : void this.once('close', resolve)))
  }

  enter(phase: Phase): void {
    this.#phase = phase
    this.#goOn()
  }

  /** One more has been told. */
  published(): void {
    this.#publishingBytes -= this.#publishing.shift() ?? 0
    this.#goOn()
  }

  override _read(): void {
    this.#readerIsFull = false
    this.#goOn()
  }

  #goOn(): void {
    if (this.destroyed) return
    const packet = this.#packet
    if (packet && this.#mayPass(packet)) {
      this.#packet = undefined
      // The CONNECT comes first, and nothing passes behind it before its CONNACK.
      if (this.#phase === 'connecting') this.#phase = 'waiting'
      if (packet[0]! >> 4 === publish) {
        this.#publishing.push(packet.length)
        this.#publishingBytes += packet.length
      }
      if (!this.push(packet)) this.#readerIsFull = true
    }
    if (this.#end === 'asked' && !this.#packet && this.#publishing.length === 0) {
      this.#end = 'passed'
      this.push(null)
    }
    const stops = this.#packet !== undefined || this.#readerIsFull
    if (stops === this.#stopped) return
    this.#stopped = stops
    if (stops) this.#connection.pause()
    else this.#connection.resume()
  }

  /**
   * A publication is told to the other reactors before the broker acknowledges it, and later packets must not overtake it: a DISCONNECT would
   * end the client first.
   */
  #mayPass(packet: Buffer): boolean {
    if (this.#phase === 'waiting' || this.#readerIsFull) return false
    if (packet[0]! >> 4 !== publish) return this.#publishing.length === 0
    return this.#publishing.length < limits.publishing && this.#publishingBytes < limits.publishingBytes
  }

  // ---------------------------------------------------------------- from the broker

  /** False: the peer is slow, and `'drain'` follows. The bytes are taken all the same, until `outBuffer.max` closes the connection. */
  override write(chunk: unknown, encoding?: BufferEncoding | Callback, callback?: Callback): boolean {
    super.write(chunk, encoding as BufferEncoding, callback)
    return !this.#writerIsFull
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    if (!this.#connection.write(chunk)) this.#writerIsFull = true
    callback()
  }

  override _writev(chunks: { chunk: Buffer }[], callback: Callback): void {
    this._write(chunks.length === 1 ? chunks[0]!.chunk : Buffer.concat(chunks.map(({ chunk }) => chunk)), 'utf8', callback)
  }

  /** The `drain` hook of the connection. */
  drained(): void {
    this.#writerIsFull = false
    this.emit('drain')
  }

  override _final(callback: Callback): void {
    this.#connection.end()
    callback()
  }

  /** The `close` hook of the connection. */
  connectionClosed(): void {
    this.#connectionIsClosed = true
    this.destroy()
  }

  override _destroy(error: Error | null, callback: Callback): void {
    this.#packet = undefined
    if (!this.#connectionIsClosed) {
      // Without an error the written packets leave first: a CONNACK that refuses.
      if (error) this.#connection.destroy()
      else this.#connection.end()
    }
    callback(error)
  }

  get remoteAddress(): string | undefined {
    return this.#connection.remoteAddress
  }
}
