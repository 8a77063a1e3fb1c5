import { Buffer } from 'node:buffer'
import { Duplex } from 'node:stream'
import { causedByPeer, type CloseReason, MultireactorError, shown, type WriteResult, writeResult } from '@multireactor/addon'
import { util } from './builtins.js'
import type { Connection } from './connection.js'
import type { ConnectionLink } from './connection_link.js'
import type { EngineCore } from './engine_core.js'
import { leastPiece, PieceSize } from './piece_size.js'
import type { ConnectionStream } from './stream.js'
import { smallPiece, WaitingBytes } from './waiting_bytes.js'
import { clearTimeout, setImmediate, setTimeout } from './timers.js'

/** Options of `conn.toDuplex()`. */
export interface DuplexOptions {
  /** Stay writable when the peer has finished sending, until `end()`. Default false, as with `net`. */
  allowHalfOpen?: boolean
  /** Bytes in each direction from which the stream asks for patience. Default: that of Node's streams. */
  highWaterMark?: number
}

/** The parts of which `conn.toDuplex()` makes a stream. */
export interface DuplexMaking {
  // biome-ignore lint/suspicious/noExplicitAny: the data of connections differs from listener to listener
  readonly link: ConnectionLink<any>
  readonly engine: EngineCore
  readonly options: DuplexOptions
  /** Takes the object that the engine is to call. */
  owns(stream: ConnectionStream): void
}

/** A larger chunk goes to the socket piece by piece, so that no more of it is copied than the peer takes. */
const mostPiece = 64 << 10

const mostMs = 0x7fff_ffff

/**
 * A connection as a stream, made by `conn.toDuplex()`: the members of a `net.Socket` that a server got from a listener. When the
 * server closes or the thread gets a successor, it emits `'closing'`: its owner ends it then, or it is cut when the time is over.
 */
export class ConnectionDuplex extends Duplex {
  /** For servers that keep themselves here. */
  server: unknown = null
  /** As set by `setTimeout`. */
  timeout: number | undefined
  /** Always false: the connection is open when the stream is made. */
  readonly connecting = false
  /** Absent on a connection without TLS, as on a `net.Socket`: code behind a proxy may set it. */
  declare encrypted?: boolean
  /** The connection of `toDuplex()`. */
  // biome-ignore lint/suspicious/noExplicitAny: the data of connections differs from listener to listener
  readonly connection: Connection<any>
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly #link: ConnectionLink<any>
  readonly #engine: EngineCore
  readonly #slot: number
  readonly #generation: number
  #closed = false
  /** `push` has said that it is enough. */
  #full = false
  /** Bytes received while the stream held unread ones. */
  #unread: WaitingBytes | undefined
  /** A reader has asked for more than there is, and waits for `readable`. */
  #asked = false
  #paused = false
  /** Bytes that `write` has not taken yet, and the callback for then. */
  #rest: Piece[] = []
  #next = 0
  #written: Callback | undefined
  #finished: Callback | undefined
  #resets = false
  /** The connection has been reset while the stream held more than was asked for: told when somebody has read it, or writes. */
  #reset: Error | undefined
  #timer: NodeJS.Timeout | undefined
  #local: { address: string | undefined; port: number | undefined } | undefined

  /** @internal Made by `conn.toDuplex()`. */
  constructor(made: DuplexMaking) {
    const { link, engine, options } = made
    super({
      allowHalfOpen: options.allowHalfOpen ?? false,
      decodeStrings: false,
      // `_destroy` emits it, with `hadError`.
      emitClose: false,
      ...(options.highWaterMark === undefined ? {} : { highWaterMark: options.highWaterMark }),
    })
    this.connection = link
    this.#link = link
    this.#engine = engine
    this.#slot = link.slot
    this.#generation = link.generation
    made.owns({
      pieces: new PieceSize(leastPiece),
      received: (bytes) => this.#received(bytes),
      ended: () => this.#onEnd(),
      drained: () => this.#drained(),
      timedOut: () => void this.emit('timeout'),
      closed: (reason, errno) => this.#onClosed(reason, errno),
      closing: () => void this.emit('closing'),
    })
    if (engine.closing) process.nextTick(() => this.emit('closing'))
  }

  // ---------------------------------------------------------------- reading

  #received(bytes: Buffer): void {
    const { readableLength } = this
    // The stream keeps a Buffer for each piece, and a peer can make each a byte: behind the first they are joined here.
    const joins = readableLength > 0 && (bytes.length < smallPiece || this.#unread !== undefined)
    if (joins && !this.#asked) return this.#keep(bytes, readableLength)
    // It may stay unread for long: it must not keep a slab of 256 KiB alive.
    const waits = readableLength === 0 && !this.#asked && this.readableFlowing !== true && bytes.length < smallPiece
    this.#asked = false
    if (this.#unread) this.#pushUnread()
    // One chunk more than asked for is taken: a reader that only needs a moment costs no system calls.
    if (this.#full && !this.#paused) {
      this.#paused = true
      this.connection.pause()
    }
    if (!this.push(waits ? Buffer.from(bytes) : bytes)) this.#full = true
  }

  #keep(bytes: Buffer, readableLength: number): void {
    this.#unread ??= new WaitingBytes(this.#link.allocate)
    this.#unread.push(bytes)
    if (this.#paused || readableLength + this.#unread.length < this.readableHighWaterMark) return
    this.#paused = true
    this.connection.pause()
  }

  /** Hands the joined bytes to the stream, behind those it holds. */
  #pushUnread(): void {
    const unread = this.#unread
    this.#unread = undefined
    for (let piece = unread?.shift(); piece; piece = unread!.shift()) {
      if (!this.push(piece)) this.#full = true
    }
  }

  #onEnd(): void {
    this.#pushUnread()
    this.push(null)
    // As with `net`: where no byte waits for a reader, `'end'` needs none either.
    super.read(0)
  }

  /** Every reader comes by here: iterators, `data`, pipes. 0 is the stream itself, which only asks for more. */
  override read(size?: number): unknown {
    if (this.#unread && size !== 0) this.#pushUnread()
    const chunk = super.read(size) as unknown
    // Behind all of it: pieces are smaller than those of `net`, so that its reader would have had it already.
    if (this.#reset && this.readableLength === 0) setImmediate(() => this.destroy(this.#reset))
    if (chunk === null && size !== 0) this.#asked = true
    return chunk
  }

  override _read(): void {
    this.#full = false
    if (!this.#paused) return
    this.#paused = false
    this.connection.resume()
  }

  // ---------------------------------------------------------------- writing

  /** As with `net`: a write behind the peer's end, which has ended this side too, fails with EPIPE. */
  override write(chunk: unknown, encoding?: BufferEncoding | Callback, callback?: Callback): boolean {
    if (this.allowHalfOpen || !this.readableEnded || !this.writableEnded) {
      return super.write(chunk, encoding as BufferEncoding, callback)
    }
    const error = Object.assign(causedByPeer(new Error('This socket has been ended by the other party')), { code: 'EPIPE' })
    const told = typeof encoding === 'function' ? encoding : callback
    if (told) process.nextTick(told, error)
    this.destroy(error)
    return false
  }

  override _write(chunk: string | Uint8Array, encoding: BufferEncoding, callback: Callback): void {
    if (this.#reset) return callback(this.#reset)
    const data = typeof chunk === 'string' ? inUtf8(chunk, encoding) : chunk
    if (data.length <= mostPiece) {
      const result = this.#give(data)
      if (result === writeResult.belowHigh) return callback()
      this.#written = callback
      return
    }
    this.#rest = [data]
    this.#goOn(callback)
  }

  override _writev(chunks: { chunk: string | Uint8Array; encoding: BufferEncoding }[], callback: Callback): void {
    if (this.#reset) return callback(this.#reset)
    this.#rest = chunks.map(({ chunk, encoding }) => (typeof chunk === 'string' ? inUtf8(chunk, encoding) : chunk))
    this.#goOn(callback)
  }

  #goOn(callback: Callback): void {
    while (this.#next < this.#rest.length) {
      let data = this.#rest[this.#next]!
      if (data.length > mostPiece) {
        const whole: Uint8Array = typeof data === 'string' ? Buffer.from(data) : data
        data = whole.subarray(0, mostPiece)
        this.#rest[this.#next] = whole.subarray(mostPiece)
      } else {
        this.#next++
      }
      if (this.#give(data) === writeResult.belowHigh) continue
      this.#written = callback
      return
    }
    this.#rest = []
    this.#next = 0
    callback()
  }

  /** `belowHigh`: there is room for more. `full`: `drained` follows. `gone`: it has closed, and `closed` follows. */
  #give(data: Piece): WriteResult {
    if (this.#closed) return writeResult.gone
    const result = this.#engine.driver.writeStream(this.#slot, this.#generation, data)
    this.#engine.touched()
    return result
  }

  #drained(): void {
    const written = this.#written
    if (written) {
      this.#written = undefined
      return this.#goOn(written)
    }
    const finished = this.#finished
    this.#finished = undefined
    finished?.()
  }

  override _final(callback: Callback): void {
    if (this.#closed || !this.#engine.driver.finish(this.#slot, this.#generation)) return callback()
    this.#finished = callback
    this.#engine.touched()
  }

  /** Ends, and destroys when everything has left. */
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  /** Closes with RST instead of FIN: the peer gets `ECONNRESET`. */
  resetAndDestroy(): this {
    this.#resets = true
    return this.destroy()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    clearTimeout(this.#timer)
    if (!this.#closed) {
      if (this.#resets) this.#engine.driver.resetOnClose(this.#slot, this.#generation)
      this.connection.destroy()
    }
    callback(error)
    process.nextTick(() => this.emit('close', error !== null))
  }

  #onClosed(reason: CloseReason, errno: number): void {
    this.#closed = true
    if (this.destroyed) return
    if (reason === 'end') {
      if (!this.readableEnded && !this.#endPushed()) this.#onEnd()
      return this.#drained()
    }
    const error = quiet.has(reason) ? undefined : closeError(reason, errno)
    // As with `net`, which has stopped to read by then: who is slow gets what came before. Whoever waits to write must know now.
    if (reason !== 'reset' || !this.#full || this.#written || this.#finished) return void this.destroy(error)
    this.#reset = error
    this.#awaitReader()
  }

  /** The timer of the connection has gone with it. */
  #awaitReader(): void {
    clearTimeout(this.#timer)
    if (this.timeout) this.#timer = setTimeout(() => this.emit('timeout'), this.timeout).unref()
  }

  #endPushed(): boolean {
    return (this as unknown as { _readableState: { ended: boolean } })._readableState.ended
  }

  // ---------------------------------------------------------------- the members of a socket

  /**
   * Emits `'timeout'` after so many ms without any byte in or out; 0 switches it off. As exact as `conn.setTimeout`. Throws
   * `ERR_MR_OPTION_TYPE` and `ERR_MR_OPTION_RANGE` where `net` throws.
   */
  setTimeout(milliseconds: number, callback?: () => void): this {
    if (this.destroyed) return this
    checkTimeout(milliseconds, callback)
    if (this.#closed && !this.#reset) return this
    const whole = Math.min(Math.ceil(milliseconds), mostMs)
    this.timeout = milliseconds
    if (this.#reset) this.#awaitReader()
    else this.#engine.driver.setTimeoutMs(this.#slot, this.#generation, whole)
    if (callback) {
      if (whole === 0) this.removeListener('timeout', callback)
      else this.once('timeout', callback)
    }
    return this
  }

  /** As of `net.Socket`: `TCP_NODELAY`; default true. */
  setNoDelay(on = true): this {
    // Any value, as with `net`.
    this.connection.setNoDelay(Boolean(on))
    return this
  }

  /** As of `net.Socket`: TCP keep-alive probes; `initialDelay` in milliseconds. */
  setKeepAlive(on = false, initialDelayMs = 0): this {
    this.connection.setKeepAlive(Boolean(on), Math.min(Math.max(Number(initialDelayMs) || 0, 0), mostMs))
    return this
  }

  /** As of `net.Socket`, without effect. */
  ref(): this {
    return this
  }
  /** As of `net.Socket`, without effect: the server keeps the thread. */
  unref(): this {
    return this
  }

  /** The address on this side, as of `net.Socket`; `{}` when the connection has closed. */
  address(): { address: string; family: string; port: number } | Record<string, never> {
    const { localAddress: address, localPort: port, localFamily: family } = this
    return address === undefined || port === undefined || family === undefined ? {} : { address, family, port }
  }

  /** The peer's literal address; undefined for a Unix peer. */
  get remoteAddress(): string | undefined {
    return this.connection.remoteAddress
  }
  /** The peer's port; undefined for a Unix peer. */
  get remotePort(): number | undefined {
    return this.connection.remotePort
  }
  /** The family of `remoteAddress`; undefined for a Unix peer. */
  get remoteFamily(): string | undefined {
    return this.connection.remoteFamily
  }
  /** The literal address on this side; undefined when it is not known any more. */
  get localAddress(): string | undefined {
    return this.#place().address
  }
  /** The port on this side; undefined when it is not known any more. */
  get localPort(): number | undefined {
    return this.#place().port
  }
  /** The family of `localAddress`. */
  get localFamily(): string | undefined {
    const { address } = this.#place()
    return this.remoteFamily && address !== undefined ? (address.includes(':') ? 'IPv6' : 'IPv4') : undefined
  }
  /** Bytes received so far. */
  get bytesRead(): number {
    return this.connection.bytesRead
  }
  /** Includes the bytes that wait to be sent. */
  get bytesWritten(): number {
    const { connection } = this
    let bytes = connection.bytesWritten + connection.writableLength
    for (let i = this.#next; i < this.#rest.length; i++) bytes += Buffer.byteLength(this.#rest[i]!)
    const { writableBuffer } = this as unknown as { writableBuffer?: { chunk: Piece; encoding: BufferEncoding }[] }
    for (const { chunk, encoding } of writableBuffer ?? [])
      bytes += typeof chunk === 'string' ? Buffer.byteLength(chunk, encoding) : chunk.length
    return bytes
  }
  /** True once the stream is destroyed, as of `net.Socket`. */
  get pending(): boolean {
    return this.destroyed
  }
  /** Bytes that wait to be sent, as of `net.Socket`. */
  get bufferSize(): number {
    return this.writableLength
  }
  /** As of `net.Socket`: by which sides are open. */
  get readyState(): 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.readable) return this.writable ? 'open' : 'readOnly'
    return this.writable ? 'writeOnly' : 'closed'
  }

  #place() {
    this.#local ??= { address: this.connection.localAddress, port: this.connection.localPort }
    return this.#local
  }
}

type Piece = string | Uint8Array
type Callback = (error?: Error | null) => void

function checkTimeout(milliseconds: unknown, callback: unknown): void {
  const wrong = (code: 'ERR_MR_OPTION_TYPE' | 'ERR_MR_OPTION_RANGE', what: string, value: unknown) =>
    new MultireactorError(code, `setTimeout(): ${what}, and is ${shown(value)}`)
  if (typeof milliseconds !== 'number') throw wrong('ERR_MR_OPTION_TYPE', "'milliseconds' must be a number", milliseconds)
  if (!(milliseconds >= 0 && Number.isFinite(milliseconds)))
    throw wrong('ERR_MR_OPTION_RANGE', "'milliseconds' must be 0 or more", milliseconds)
  if (callback !== undefined && typeof callback !== 'function')
    throw wrong('ERR_MR_OPTION_TYPE', "'callback' must be a function", callback)
}

/** Strings cross in UTF-8; other encodings become their bytes. */
function inUtf8(text: string, encoding: BufferEncoding): Piece {
  return encoding === 'utf8' || encoding === 'utf-8' ? text : Buffer.from(text, encoding)
}

/** Orderly ends: the stream closes without an error, as a destroyed socket does. */
const quiet = new Set<CloseReason>(['end', 'destroyed', 'server-closing', 'thread-lost'])

const timeouts = new Set<CloseReason>(['timeout', 'idle-timeout', 'first-byte-timeout', 'frame-timeout', 'write-timeout'])

/** With the codes that errors of a `net.Socket` have, and our reason beside it. */
function closeError(reason: CloseReason, errno: number): Error {
  const code = errno !== 0 ? util().getSystemErrorName(-errno) : timeouts.has(reason) ? 'ETIMEDOUT' : 'ECONNRESET'
  const error = new Error(`read ${code}: the connection closed (${reason})`)
  return Object.assign(causedByPeer(error), { code, reason, syscall: 'read', ...(errno === 0 ? {} : { errno: -errno }) })
}
