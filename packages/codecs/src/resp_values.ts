import { Buffer } from 'node:buffer'
import { MultireactorError } from '@multireactor/addon'

/** An error that a server answered. `code` is its first word. */
export class RespError extends Error {
  /** The first word of the message, such as `ERR` or `WRONGTYPE`. */
  get code(): string {
    return this.message.split(' ', 1)[0]!
  }
  /** Always `'RespError'`. */
  override get name(): string {
    return 'RespError'
  }
}

/** Something that a server says without being asked. */
export interface RespPush {
  /** The elements of the push message, its kind first. */
  push: RespValue[]
}

/** Bulk strings are bytes; simple ones are strings. Maps keep their order, and their keys as they are. */
export type RespValue =
  | null
  | string
  | number
  | bigint
  | boolean
  | Buffer
  | RespError
  | RespPush
  | RespValue[]
  | Set<RespValue>
  | Map<RespValue, RespValue>

/** A command for a server, ready to send. Strings go as UTF-8. */
export function encodeCommand(words: readonly (string | number | bigint | Uint8Array)[]): Buffer {
  const parts: Uint8Array[] = [Buffer.from(`*${words.length}\r\n`)]
  for (const word of words) {
    const bytes = word instanceof Uint8Array ? word : Buffer.from(String(word))
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, endOfLine)
  }
  return Buffer.concat(parts)
}

const endOfLine = Buffer.from('\r\n')

/**
 * The value that a frame of `respValues()` holds. Whole numbers beyond 2^53 are bigint; attributes are skipped; bulk strings are
 * views of the frame. Throws `ERR_MR_DATA` when the bytes are no value.
 */
export function decodeValue(frame: Buffer): RespValue {
  const reader = new ValueReader(frame)
  const value = reader.read()
  if (reader.at !== frame.length) throw noValue('bytes follow it')
  return value
}

class ValueReader {
  at = 0
  readonly #frame: Buffer

  constructor(frame: Buffer) {
    this.#frame = frame
  }

  read(): RespValue {
    const line = this.#line()
    const text = line.slice(1)
    switch (line[0]) {
      case '+':
        return text
      case '-':
        return new RespError(text)
      case ':':
        return whole(text)
      case '(':
        if (!/^[+-]?\d+$/.test(text)) throw noValue('a big number has digits only')
        return BigInt(text)
      case ',':
        return double(text)
      case '#':
        return text === 't'
      case '_':
        return null
      case '$':
        return text === '-1' ? null : this.#bulk(count(text))
      case '!':
        return new RespError(this.#bulk(count(text)).toString())
      case '=':
        return this.#bulk(count(text)).subarray(4).toString()
      case '*':
        return text === '-1' ? null : this.#values(count(text))
      case '~':
        return new Set(this.#values(count(text)))
      case '>':
        return { push: this.#values(count(text)) }
      case '%':
        return this.#map(count(text))
      case '|':
        this.#values(count(text) * 2)
        return this.read()
      default:
        throw noValue(`${JSON.stringify(line[0] ?? '')} is no type`)
    }
  }

  #line(): string {
    const end = this.#frame.indexOf('\r\n', this.at, 'latin1')
    if (end < 0) throw noValue('a line does not end')
    const line = this.#frame.toString('latin1', this.at, end)
    this.at = end + 2
    return line
  }

  #bulk(length: number): Buffer {
    const end = this.at + length
    if (end + 2 > this.#frame.length) throw noValue('a bulk string does not end')
    const bytes = this.#frame.subarray(this.at, end)
    this.at = end + 2
    return bytes
  }

  #values(length: number): RespValue[] {
    const values: RespValue[] = []
    for (let i = 0; i < length; i++) values.push(this.read())
    return values
  }

  #map(pairs: number): Map<RespValue, RespValue> {
    const map = new Map<RespValue, RespValue>()
    for (let i = 0; i < pairs; i++) {
      const key = this.read()
      map.set(Buffer.isBuffer(key) ? key.toString() : key, this.read())
    }
    return map
  }
}

function count(text: string): number {
  if (!/^\d+$/.test(text)) throw noValue(`${JSON.stringify(text)} is no length`)
  return Number(text)
}

function whole(text: string): number | bigint {
  if (!/^[+-]?\d+$/.test(text)) throw noValue(`${JSON.stringify(text)} is no whole number`)
  const number = Number(text)
  return Number.isSafeInteger(number) ? number : BigInt(text)
}

function double(text: string): number {
  if (text === 'inf') return Infinity
  if (text === '-inf') return -Infinity
  return text === 'nan' ? Number.NaN : Number(text)
}

function noValue(why: string): MultireactorError {
  return new MultireactorError('ERR_MR_DATA', `decodeValue(): the bytes are no RESP value: ${why}`)
}
