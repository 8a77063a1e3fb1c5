import { Buffer } from 'node:buffer'
const carriageReturn = 0x0d
const newline = 0x0a
const firstBytes = 4096
/** What one large reply made it grow to is not kept for ever. */
const keptBytes = 1 << 20

/**
 * Builds replies into one buffer, in RESP2 or RESP3, for one `conn.write` of all of them: strings with one character for each byte
 * (as `CommandReader.text` gives them) or bytes. One writer does for a whole thread.
 */
export class ReplyWriter {
  /** 2 or 3: what the types that only RESP3 has become. The connection's, set before its replies are written. */
  protocol: 2 | 3 = 2
  #buffer = Buffer.allocUnsafeSlow(firstBytes)
  #size = 0

  /** Bytes written since the last `take()`. */
  get size(): number {
    return this.#size
  }

  /** What was written, valid until the next write; then it is empty again. */
  take(): Buffer {
    const taken = this.#buffer.subarray(0, this.#size)
    this.#size = 0
    if (this.#buffer.length > keptBytes) this.#buffer = Buffer.allocUnsafeSlow(firstBytes)
    return taken
  }

  /** Forgets what was written behind the first `size` bytes. */
  rewind(size: number): void {
    this.#size = size
  }

  /** `+text`. It must not have a line break. */
  simple(text: string): this {
    return this.#line(0x2b, text)
  }

  /** `-text`, whose first word is a code such as ERR. Line breaks become spaces. */
  error(text: string): this {
    return this.#line(0x2d, text.replace(/[\r\n]+/g, ' '))
  }

  integer(value: number | bigint): this {
    if (typeof value === 'number' && value >= 0 && value <= 0x7fff_ffff && Number.isInteger(value)) return this.#head(0x3a, value)
    return this.#line(0x3a, String(value))
  }

  bulk(value: string | Uint8Array): this {
    const { length } = value
    this.#head(0x24, length)
    this.#reserve(length + 2)
    this.#put(value)
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
    return this.#head(0x2a, count)
  }

  /** The head of a set: an array in RESP2. */
  set(count: number): this {
    return this.#head(this.protocol === 2 ? 0x2a : 0x7e, count)
  }

  /** The head of a map of so many pairs: an array of twice as many in RESP2. */
  map(pairs: number): this {
    return this.protocol === 2 ? this.#head(0x2a, pairs * 2) : this.#head(0x25, pairs)
  }

  /** The head of a push: an array in RESP2. */
  push(count: number): this {
    return this.#head(this.protocol === 2 ? 0x2a : 0x3e, count)
  }

  /** A number with a fraction: a bulk string in RESP2. */
  double(value: number): this {
    const text = Number.isNaN(value) ? 'nan' : value === Infinity ? 'inf' : value === -Infinity ? '-inf' : String(value)
    return this.protocol === 2 ? this.bulk(text) : this.#line(0x2c, text)
  }

  /** True or false: 1 or 0 in RESP2. */
  boolean(value: boolean): this {
    return this.raw(this.protocol === 2 ? `:${value ? 1 : 0}\r\n` : `#${value ? 't' : 'f'}\r\n`)
  }

  /** Text for people: a bulk string in RESP2. */
  verbatim(text: string): this {
    if (this.protocol === 2) return this.bulk(text)
    this.#head(0x3d, text.length + 4)
    return this.raw(`txt:${text}\r\n`)
  }

  /** Bytes that are RESP already. */
  raw(value: string | Uint8Array): this {
    this.#reserve(value.length)
    this.#put(value)
    return this
  }

  #line(type: number, text: string): this {
    this.#reserve(text.length + 3)
    this.#buffer[this.#size++] = type
    this.#put(text)
    return this.#end()
  }

  #head(type: number, value: number): this {
    this.#reserve(16)
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

  #put(value: string | Uint8Array): void {
    const buffer = this.#buffer
    const { length } = value
    if (typeof value !== 'string') buffer.set(value, this.#size)
    else if (length > 24) buffer.write(value, this.#size, 'latin1')
    else for (let i = 0, at = this.#size; i < length; i++) buffer[at++] = value.charCodeAt(i)
    this.#size += length
  }

  #reserve(bytes: number): void {
    if (this.#buffer.length - this.#size >= bytes) return
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#size + bytes))
    this.#buffer.copy(grown, 0, 0, this.#size)
    this.#buffer = grown
  }
}
