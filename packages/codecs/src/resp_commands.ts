import { shortText } from './short_text.js'

const star = 0x2a
const carriageReturn = 0x0d
const newline = 0x0a
/** Names of commands are short: longer ones are unknown anyway. */
const longestName = 32

/**
 * Takes the commands of a frame of `resp()` apart, one after the other, without an object for each: `start(frame)`, then `next()`
 * until it says false. The frame has been checked by the framing. One reader does for a whole thread.
 */
export class CommandReader {
  #frame: Buffer = Buffer.alloc(0)
  #from = 0
  #at = 0
  /** Where each argument begins and ends. */
  readonly #places: number[] = []
  #count = 0
  /** Of inline commands, whose words may hold escapes: they lie in a buffer of their own. */
  #words: Buffer | undefined
  readonly #names = new NameTable()

  start(frame: Buffer): void {
    this.#frame = frame
    this.#from = 0
    this.#at = 0
    this.#count = 0
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

  /** Arguments of this command, its name included. */
  get count(): number {
    return this.#count
  }

  /** The first argument in upper case; the same string object for the same name. Empty when it is too long to be a name. */
  name(): string {
    return this.#names.of(this.#source, this.#places[0]!, this.#places[1]!)
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

  /** The command as it came, as a view of the frame: another reader can start with it. */
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
    if (frame[at] === 0x2d)
      at += 2 // -1: no command
    else for (; frame[at] !== carriageReturn; at++) count = count * 10 + frame[at]! - 0x30
    at += 2
    for (let i = 0; i < count; i++) {
      let length = 0
      for (at++; frame[at] !== carriageReturn; at++) length = length * 10 + frame[at]! - 0x30
      at += 2
      places[2 * i] = at
      at += length
      places[2 * i + 1] = at
      at += 2
    }
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

function upper(byte: number): number {
  return byte >= 0x61 && byte <= 0x7a ? byte - 32 : byte
}

function same(bytes: Buffer, source: Buffer, from: number, to: number): boolean {
  if (bytes.length !== to - from) return false
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== upper(source[from + i]!)) return false
  return true
}

const escapes: Record<string, string> = { n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07' }

/** The words of an inline command: double quotes with escapes, single quotes, spaces between. Unbalanced quotes: no words. */
function splitWords(line: string): string[] {
  const words: string[] = []
  const pattern = /\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s"']+))(?=\s|$)/y
  const text = line.replace(/[\s\0]+$/, '')
  while (pattern.lastIndex < text.length) {
    const match = pattern.exec(text)
    if (!match) return []
    const [, double, single, plain] = match
    if (double !== undefined) {
      words.push(
        double.replace(/\\(?:x([0-9a-fA-F]{2})|(.))/gs, (_, hex: string | undefined, other: string) =>
          hex === undefined ? (escapes[other] ?? other) : String.fromCharCode(Number.parseInt(hex, 16)),
        ),
      )
    } else words.push(single === undefined ? plain! : single.replaceAll("\\'", "'"))
  }
  return words
}
