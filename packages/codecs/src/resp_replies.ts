import { Buffer } from 'node:buffer'
import { MultireactorError, shown } from '@multireactor/addon'
import { checkCount, checkDouble, checkText, lengthIn, noLonger, refuseDeferred } from './reply_checks.js'
import { CommandReader } from './resp_commands.js'

const carriageReturn = 0x0d
const newline = 0x0a
const firstBytes = 4096
/** A buffer that one large reply made grow is not kept for ever. */
const keptBytes = 1 << 20
/** A type, 17 digits (twice the largest safe integer), a line break: an unchecked index below this must lie in the buffer. */
const mostHeadBytes = 20

/** The buffer for the next writer of this thread. While a writer has it there is none, and a second writer gets a buffer of its own. */
let spare: Buffer | undefined
/** The buffer of a writer whose callback has returned: every write asks for room first, and finds none. */
const closed = Buffer.alloc(0)

/**
 * Builds replies in RESP2 or RESP3, from strings with one character for each byte (as `CommandReader.text` gives them) or from bytes.
 * `answerCommands` and `encodeReplies` make one for each callback, and it ends with the callback: a later write throws
 * `ERR_MR_REPLY_WRITER`. So a reply that was begun for one connection cannot reach another one.
 */
export class ReplyWriter {
  /** 2 (default) or 3: decides how types that only RESP3 has are written. Set it to the protocol of the connection, first. */
  protocol: 2 | 3 = 2
  #buffer: Buffer
  #size = 0
  /** Replies to commands that have been answered: they are owed, and stay. */
  #kept = 0

  private constructor(buffer: Buffer) {
    this.#buffer = buffer
  }

  /** @internal */
  static answer(
    conn: { write(bytes: Uint8Array): unknown },
    commands: CommandReader,
    callback: (command: CommandReader, out: ReplyWriter) => unknown,
  ): boolean {
    const out = ReplyWriter.#open()
    try {
      while (commands.next()) {
        const result = callback(commands, out)
        if (result !== out) refuseDeferred('answerCommands', result)
        out.#kept = out.#size
        if (result === false) return out.#send(conn, false)
        // A frame of small commands may ask for more than fits into memory: written bytes count for `limits.memory`, this buffer does not.
        if (out.#kept >= keptBytes) out.#sendPart(conn)
      }
      return out.#send(conn, true)
    } catch (error) {
      out.#sendKept(conn)
      throw error
    } finally {
      out.#close()
    }
  }

  /** @internal */
  static encode(callback: (out: ReplyWriter) => unknown): Buffer {
    const out = ReplyWriter.#open()
    try {
      const result = callback(out)
      if (result !== out) refuseDeferred('encodeReplies', result)
      out.#kept = out.#size
      return out.#give()
    } finally {
      out.#close()
    }
  }

  static #open(): ReplyWriter {
    const buffer = spare ?? Buffer.allocUnsafeSlow(firstBytes)
    spare = undefined
    return new ReplyWriter(buffer)
  }

  #send(conn: { write(bytes: Uint8Array): unknown }, result: boolean): boolean {
    if (this.#kept !== 0) conn.write(this.#give())
    return result
  }

  #sendPart(conn: { write(bytes: Uint8Array): unknown }): void {
    const bytes = this.#give()
    this.#buffer = Buffer.allocUnsafeSlow(firstBytes)
    this.#size = 0
    conn.write(bytes)
  }

  /** Bytes that no later writer touches: the receiver may keep them, as a stream does. Few are copied, many go with their buffer. */
  #give(): Buffer {
    const bytes = this.#buffer.subarray(0, this.#kept)
    this.#kept = 0
    if (bytes.length <= firstBytes) return Buffer.from(bytes)
    this.#buffer = closed
    return bytes
  }

  /** Behind a callback that has thrown: its own reply is dropped, those before it leave. */
  #sendKept(conn: { write(bytes: Uint8Array): unknown }): void {
    try {
      this.#send(conn, true)
    } catch {
      // The connection has ended, too: the error of the callback says why.
    }
  }

  #close(): void {
    if (this.#buffer !== closed && this.#buffer.length <= keptBytes) spare = this.#buffer
    this.#buffer = closed
    this.#size = 0
  }

  /** Bytes written so far, without those of earlier commands that have left. */
  get size(): number {
    return this.#size
  }

  /**
   * Drops the replies behind the first `size` bytes. Throws `ERR_MR_OPTION_RANGE` if `size` is above the written bytes, or below the replies to
   * earlier commands.
   */
  rewind(size: number): void {
    if (!Number.isInteger(size) || size < this.#kept || size > this.#size) {
      throw new MultireactorError(
        'ERR_MR_OPTION_RANGE',
        `rewind(): ${size} is not a whole number from ${this.#kept} to ${this.#size}`,
      )
    }
    this.#size = size
  }

  /** `+text`. It must not have a line break. */
  simple(text: string): this {
    return this.#line(0x2b, checkText('simple()', text))
  }

  /** `-text`, whose first word is a code such as ERR. Line breaks become spaces. */
  error(text: string): this {
    return this.#line(0x2d, checkText('error()', text).replace(/[\r\n]+/g, ' '))
  }

  /** Appends an integer (`:`), within 64 bits. */
  integer(value: number | bigint): this {
    if (typeof value === 'number' && value >= 0 && value <= 0x7fff_ffff && Number.isInteger(value)) return this.#head(0x3a, value)
    if (typeof value !== 'bigint' && !Number.isInteger(value)) {
      throw new MultireactorError('ERR_MR_OPTION_RANGE', `integer(): must be a whole number, and is ${shown(value)}`)
    }
    return this.#line(0x3a, String(BigInt(value)))
  }

  /** Appends a bulk string (`$`). */
  bulk(value: string | Uint8Array): this {
    const length = lengthIn('bulk()', value)
    this.#head(0x24, length)
    this.#reserve(length + 2)
    this.#put(value, length)
    return this.#end()
  }

  /** Nothing there: `$-1` in RESP2, `_` in RESP3. */
  null(): this {
    return this.raw(this.protocol === 2 ? '$-1\r\n' : '_\r\n')
  }

  /** No array: `*-1` in RESP2, `_` in RESP3. */
  nullArray(): this {
    return this.raw(this.protocol === 2 ? '*-1\r\n' : '_\r\n')
  }

  /** The head of an array; so many values follow. */
  array(count: number): this {
    return this.#aggregate(0x2a, count)
  }

  /** The head of a set: an array in RESP2. */
  set(count: number): this {
    return this.#aggregate(this.protocol === 2 ? 0x2a : 0x7e, count)
  }

  /** The head of a map of so many pairs: an array of twice as many in RESP2. */
  map(pairs: number): this {
    return this.protocol === 2 ? this.#aggregate(0x2a, pairs, 2) : this.#aggregate(0x25, pairs)
  }

  /** The head of a push: an array in RESP2. */
  push(count: number): this {
    return this.#aggregate(this.protocol === 2 ? 0x2a : 0x3e, count)
  }

  /** A number with a fraction: a bulk string in RESP2. */
  double(value: number): this {
    checkDouble(value)
    const text = Number.isNaN(value) ? 'nan' : value === Infinity ? 'inf' : value === -Infinity ? '-inf' : String(value)
    return this.protocol === 2 ? this.bulk(text) : this.#line(0x2c, text)
  }

  /** True or false: 1 or 0 in RESP2. */
  boolean(value: boolean): this {
    return this.raw(this.protocol === 2 ? `:${value ? 1 : 0}\r\n` : `#${value ? 't' : 'f'}\r\n`)
  }

  /** Text for people: a bulk string in RESP2. */
  verbatim(text: string): this {
    checkText('verbatim()', text)
    if (this.protocol === 2) return this.bulk(text)
    this.#head(0x3d, text.length + 4)
    return this.raw(`txt:${text}\r\n`)
  }

  /** Bytes that are RESP already. */
  raw(value: string | Uint8Array): this {
    const length = lengthIn('raw()', value)
    this.#reserve(length)
    this.#put(value, length)
    return this
  }

  #aggregate(type: number, count: number, valuesOfEach = 1): this {
    checkCount(count)
    return this.#head(type, count * valuesOfEach)
  }

  #line(type: number, text: string): this {
    this.#reserve(text.length + 3)
    this.#buffer[this.#size++] = type
    this.#put(text, text.length)
    return this.#end()
  }

  #head(type: number, value: number): this {
    this.#reserve(mostHeadBytes)
    const buffer = this.#buffer
    buffer[this.#size++] = type
    if (value < 10) {
      buffer[this.#size++] = 0x30 + value
    } else {
      let digits = 1
      for (let power = 10; power <= value; power *= 10) digits++
      let at = this.#size + digits
      this.#size = at
      for (let rest = value; at > this.#size - digits; rest = Math.floor(rest / 10)) buffer[--at] = 0x30 + (rest % 10)
    }
    return this.#end()
  }

  #end(): this {
    this.#buffer[this.#size++] = carriageReturn
    this.#buffer[this.#size++] = newline
    return this
  }

  #put(value: string | Uint8Array, length: number): void {
    const buffer = this.#buffer
    if (typeof value !== 'string') buffer.set(value, this.#size)
    else if (length > 24) buffer.write(value, this.#size, 'latin1')
    else for (let i = 0, at = this.#size; i < length; i++) buffer[at++] = value.charCodeAt(i)
    this.#size += length
  }

  #reserve(bytes: number): void {
    if (this.#buffer.length - this.#size >= bytes) return
    if (this.#buffer === closed) throw noLonger()
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#size + bytes))
    this.#buffer.copy(grown, 0, 0, this.#size)
    this.#buffer = grown
  }
}

/**
 * Answers the commands of a frame of `resp()` with one `conn.write` for all of them, or for each MiB. `callback` is called for each command, in order, and writes
 * its reply to `out` before it returns. Call it on the thread that owns the connection.
 *
 * - When the callback returns `false`, its reply is the last one: the commands behind it stay unread, and the result is `false`. Given a
 *   `CommandReader`, `answerCommands` goes on where that one stands.
 * - When the callback throws, the replies to the commands before it leave, its own replies are dropped, and the error is thrown.
 * - An asynchronous callback, or a generator, is refused with `ERR_MR_REPLY_WRITER`. Await first, and write with `encodeReplies` then.
 *
 * To end the connection behind a reply, return `false` and call `conn.end()` afterwards: replies cannot follow an `end()` in the callback, and
 * `ERR_MR_CONNECTION_CLOSED` is thrown.
 */
export function answerCommands(
  conn: { write(bytes: Uint8Array): unknown },
  commands: Buffer | CommandReader,
  callback: (command: CommandReader, out: ReplyWriter) => unknown,
): boolean {
  return ReplyWriter.answer(conn, commands instanceof CommandReader ? commands : new CommandReader(commands), callback)
}

/**
 * The replies that `callback` writes to `out` before it returns, as bytes of their own: for `parse`, a deferred reply, a publication or a file.
 * Throws the error of the callback, and `ERR_MR_REPLY_WRITER` for an asynchronous callback or a generator. On any thread.
 */
export function encodeReplies(callback: (out: ReplyWriter) => unknown): Buffer {
  return ReplyWriter.encode(callback)
}
