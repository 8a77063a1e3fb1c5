import { MultireactorError } from '@multireactor/addon'
import { shortText } from './short_text.js'

const star = 0x2a
const carriageReturn = 0x0d
const newline = 0x0a
/** Names of commands are short: longer ones are unknown anyway. */
const longestName = 32

/**
 * Takes the commands of a frame of `resp()` apart, one after the other, without an object for each: `next()` until it returns false. The
 * frame has been checked by the framing; bytes that have not been throw `ERR_MR_DATA` where they are no command. A reader has one frame, so that a hook which awaits goes on in its own.
 */
export class CommandReader {
  readonly #frame: Buffer
  #from = 0
  #at = 0
  /** Where each argument begins and ends. */
  readonly #places: number[] = []
  #count = 0
  /** Of inline commands, whose words may hold escapes: they lie in a buffer of their own. */
  #words: Buffer | undefined

  /** `frame`: one frame of `resp()`. Read in place: nothing is copied. */
  constructor(frame: Buffer) {
    this.#frame = frame
  }

  /** To the next command that has any arguments; false when there is none left. */
  next(): boolean {
    while (this.#at < this.#frame.length) {
      this.#from = this.#at
      if (this.#frame[this.#at] === star) this.#readArray()
      else this.#readInline()
      if (this.#count > 0) return true
    }
    return false
  }

  /** The next `next()` reads this command again: for one that has to wait until others have been answered. */
  unread(): void {
    this.#at = this.#from
  }

  /** Arguments of this command, its name included. */
  get count(): number {
    return this.#count
  }

  /** The first argument in upper case; the same string object for the same name. Empty when it is too long to be a name. */
  name(): string {
    return names.of(this.#source, this.#places[0]!, this.#places[1]!)
  }

  /** An argument as the bytes that it has: one character each. Fit for keys, and it can be written back by `ReplyWriter`. */
  text(i: number): string {
    this.#check(i)
    const from = this.#places[2 * i]!
    const to = this.#places[2 * i + 1]!
    return shortText(this.#source, from, to)
  }

  /** An argument's bytes, as a view of the frame. */
  bytes(i: number): Buffer {
    this.#check(i)
    return this.#source.subarray(this.#places[2 * i]!, this.#places[2 * i + 1]!)
  }

  /** Bytes of argument `i`; 0 is the name. */
  length(i: number): number {
    this.#check(i)
    return this.#places[2 * i + 1]! - this.#places[2 * i]!
  }

  /** An argument as a whole number from -(2^53 - 1) to 2^53 - 1; undefined when it is none. */
  integer(i: number): number | undefined {
    this.#check(i)
    const source = this.#source
    let at = this.#places[2 * i]!
    const to = this.#places[2 * i + 1]!
    const negative = source[at] === 0x2d
    if (negative) at++
    if (at >= to || to - at > 16 || (source[at] === 0x30 && (to - at > 1 || negative))) return undefined
    let value = 0
    for (; at < to; at++) {
      const digit = source[at]! - 0x30
      if (digit < 0 || digit > 9) return undefined
      value = value * 10 + digit
    }
    if (value > Number.MAX_SAFE_INTEGER) return undefined
    return negative ? -value : value
  }

  /** The command as it came, as a view of the frame: a frame for another reader. */
  raw(): Buffer {
    return this.#frame.subarray(this.#from, this.#at)
  }

  /** All arguments, each as `text()`. */
  texts(): string[] {
    return Array.from({ length: this.#count }, (_, i) => this.text(i))
  }

  get #source(): Buffer {
    return this.#words ?? this.#frame
  }

  #check(i: number): void {
    if (i < 0 || i >= this.#count) throw new RangeError(`a command of ${this.#count} arguments has no argument ${i}`)
  }

  #readArray(): void {
    const frame = this.#frame
    const places = this.#places
    this.#words = undefined
    let at = this.#at + 1
    let count = 0
    let read = 0
    if (frame[at] === 0x2d)
      at = frame.includes(carriageReturn, at) ? frame.indexOf(carriageReturn, at) : frame.length // less than none: no command
    else for (; at < frame.length && frame[at] !== carriageReturn; at++) count = count * 10 + frame[at]! - 0x30
    at += 2
    for (let i = 0; i < count && at < frame.length; i++) {
      let length = 0
      for (at++; at < frame.length && frame[at] !== carriageReturn; at++) length = length * 10 + frame[at]! - 0x30
      if (length < 0) break
      at += 2
      places[2 * i] = at
      at += length
      places[2 * i + 1] = at
      at += 2
      read++
    }
    // Every number is valid and no argument is missing, because the framing has checked the frame.
    if (at > frame.length || read !== count) throw noCommand()
    this.#count = count
    this.#at = at
  }

  #readInline(): void {
    const frame = this.#frame
    let end = frame.indexOf(newline, this.#at)
    if (end < 0) end = frame.length
    const words = splitWords(frame.toString('latin1', this.#at, end))
    this.#at = Math.min(end + 1, frame.length)
    this.#words = Buffer.from(words.join(''), 'latin1')
    let at = 0
    for (const [i, word] of words.entries()) {
      this.#places[2 * i] = at
      at += word.length
      this.#places[2 * i + 1] = at
    }
    this.#count = words.length
  }
}

function noCommand(): MultireactorError {
  return new MultireactorError('ERR_MR_DATA', 'CommandReader: the bytes are no whole command: give it a frame of resp()')
}

interface Known {
  bytes: Buffer
  name: string
}

/** Upper-case strings by the bytes of a name, so that a known name costs no new string. */
class NameTable {
  readonly #known = new Map<number, Known[]>()
  #size = 0
  /** Commands come in runs of the same name. */
  #last: Known = { bytes: Buffer.alloc(0), name: '' }

  of(source: Buffer, from: number, to: number): string {
    if (same(this.#last.bytes, source, from, to)) return this.#last.name
    if (to - from > longestName) return ''
    let hash = to - from
    for (let at = from; at < to; at++) hash = (hash * 31 + upper(source[at]!)) | 0
    const candidates = this.#known.get(hash)
    const found = candidates?.find(({ bytes }) => same(bytes, source, from, to))
    if (found) {
      this.#last = found
      return found.name
    }
    const name = source.toString('latin1', from, to).toUpperCase()
    // Peers choose the names: only so many are remembered.
    if (this.#size < 1024 && /^[A-Z]+$/.test(name)) {
      this.#size++
      const one = { bytes: Buffer.from(name, 'latin1'), name }
      if (candidates) candidates.push(one)
      else this.#known.set(hash, [one])
    }
    return name
  }
}

/** One per thread: names are the same for every connection. */
const names = new NameTable()

function upper(byte: number): number {
  return byte >= 0x61 && byte <= 0x7a ? byte - 32 : byte
}

function same(bytes: Buffer, source: Buffer, from: number, to: number): boolean {
  if (bytes.length !== to - from) return false
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== upper(source[from + i]!)) return false
  return true
}

const escapes: Record<string, string> = { n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07' }
const spaces = ' \t\n\v\f\r'
const delimiters = `${spaces}"'`

/**
 * The words of an inline command, as redis-server takes a line apart: spaces between them; double quotes with escapes and single quotes,
 * which may begin in the middle of a word and end it. Unbalanced quotes, which the framing refuses: no words.
 */
function splitWords(line: string): string[] {
  const words: string[] = []
  let to = line.length
  while (to > 0 && (line[to - 1] === '\0' || spaces.includes(line[to - 1]!))) to--
  for (let at = 0; ; ) {
    while (at < to && spaces.includes(line[at]!)) at++
    if (at >= to) return words
    let word = ''
    while (at < to && !spaces.includes(line[at]!)) {
      const quote = line[at]!
      if (quote !== '"' && quote !== "'") {
        const from = at
        while (at < to && !delimiters.includes(line[at]!)) at++
        word += line.slice(from, at)
        continue
      }
      const end = endOfQuoted(line, at + 1, to, quote)
      if (end < 0 || (end + 1 < to && !spaces.includes(line[end + 1]!))) return []
      word += unquoted(line.slice(at + 1, end), quote)
      at = end + 1
    }
    words.push(word)
  }
}

/** Where the quote that ends it stands; -1 when there is none. A backslash takes the next character along: between single quotes, a quote only. */
function endOfQuoted(text: string, from: number, to: number, quote: string): number {
  for (let at = from; at < to; at++) {
    if (text[at] === quote) return at
    if (text[at] === '\\' && (quote === '"' || text[at + 1] === quote)) at++
  }
  return -1
}

function unquoted(text: string, quote: string): string {
  if (quote === "'") return text.replaceAll("\\'", "'")
  return text.replace(/\\(?:x([0-9a-fA-F]{2})|(.))/gs, (_, hex: string | undefined, other: string) =>
    hex === undefined ? (escapes[other] ?? other) : String.fromCharCode(Number.parseInt(hex, 16)),
  )
}
