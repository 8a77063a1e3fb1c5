/**
 * The records that servers and peers send: each of their bytes names the owner. `l7.1.3.0.1.5:lllll\n` is a record of the
 * connection with the letter l in sequence 7.
 */
export interface RecordHead {
  kind: number
  a: number
  b: number
  /** No further part of this reply follows. */
  last: boolean
}

export const kind = {
  /** At the place of frame a, the b-th there. */
  ordered: 0,
  /** Written at any other time: number a of thread b. */
  loose: 1,
  /** A part of a reply of several: a is the place (see `placeOf`), b the part. */
  part: 2,
  /** Of server.send. */
  sent: 3,
  /** Of a publication: number a of thread b. */
  published: 4,
  /** A frame of a peer: its frame a. */
  frame: 5,
  /** A reply of several parts without a place in the order of frames: number a, part b. */
  free: 6,
  /** The body of response a, part b. */
  body: 7,
} as const

/** The place of the k-th reply of a frame, as one number. */
export const placeOf = (frame: number, k: number): number => frame * 1_000 + k

/** Sequences that run at a time have different letters. */
export const atOnce = 8
export const mostPeers = 3
export const topics = 2

/** Two subscribers of a topic get common publications in the same order. The first publication that contradicts it. */
export function contradiction(one: readonly string[], other: readonly string[]): string | undefined {
  const common = new Set(one.filter((name) => other.includes(name)))
  const there = other.filter((name) => common.has(name))
  return one.filter((name) => common.has(name)).find((name, i) => name !== there[i])
}

export const letterOf = (sequence: number, index: number): string =>
  String.fromCharCode(97 + (sequence % atOnce) * mostPeers + index)
export const topicLetter = (sequence: number, topic: number): string =>
  String.fromCharCode(65 + (sequence % atOnce) * topics + topic)
export const topicName = (sequence: number, topic: number): string => `t${sequence}.${topic}`

export function record(letter: string, sequence: number, head: RecordHead, length: number): string {
  return `${letter}${sequence}.${head.kind}.${head.a}.${head.b}.${head.last ? 1 : 0}.${length}:${letter.repeat(length)}\n`
}

const head = /^([A-Za-z])(\d+)\.(\d)\.(\d+)\.(\d+)\.([01])\.(\d+):/
const longestHead = 80

export interface ReaderOptions {
  sequence: number
  index: number
  /** Replies leave in the order of the frames. */
  inOrder: boolean
  /** The stream may begin and break off in the middle of a record: only its bytes are checked. */
  loose: boolean
}

/** Reads the bytes of one peer, and reports those that do not belong there. */
export class RecordReader {
  readonly #options: ReaderOptions
  readonly #letter: string
  readonly #strays: RegExp
  #rest = ''
  #place = -1
  readonly #numbers = new Map<number, number>()
  readonly #published = new Map<string, number>()
  /** The publications that came, by the letter of their topic, in the order in which they came. */
  readonly publications = new Map<string, string[]>()
  #openReply: string | undefined
  #part = -1
  wrong: string | undefined
  /** Records that came, by kind. */
  readonly counts: number[] = new Array<number>(8).fill(0)

  constructor(options: ReaderOptions) {
    this.#options = options
    const { sequence, index } = options
    this.#letter = letterOf(sequence, index)
    const published = Array.from({ length: topics }, (_, i) => topicLetter(sequence, i)).join('')
    this.#strays = new RegExp(`[^${this.#letter}${published}0-9.:\\r\\n]`)
  }

  push(text: string): void {
    if (this.wrong !== undefined) return
    const stray = this.#strays.exec(text)
    if (stray) {
      this.wrong = `byte ${JSON.stringify(stray[0])} astray in ${JSON.stringify(text.slice(Math.max(0, stray.index - 60), stray.index + 60))}`
      return
    }
    if (this.#options.loose) return this.#looseHeads(text)
    this.#rest += text
    while (this.wrong === undefined && this.#take());
  }

  /** The rest is the beginning of a record that was cut off. */
  get isWhole(): boolean {
    return this.#rest === ''
  }

  #looseHeads(text: string): void {
    for (const [, letter, sequence] of text.matchAll(/([A-Za-z])(\d+)\.\d\./g)) {
      if (!String(this.#options.sequence).endsWith(sequence!) && letter === this.#letter)
        this.wrong = `sequence ${sequence} in ${text.slice(0, 200)}`
    }
  }

  #take(): boolean {
    if (this.#rest === '') return false
    const found = head.exec(this.#rest)
    if (!found) {
      if (this.#rest.length > longestHead || !/^[A-Za-z]?[\d.]*$/.test(this.#rest))
        this.wrong = `no record: ${JSON.stringify(this.#rest.slice(0, 200))}`
      return false
    }
    const length = Number(found[7])
    const end = found[0].length + length
    if (this.#rest.length <= end) return false
    const letter = found[1]!
    const body = this.#rest.slice(found[0].length, end)
    if (this.#rest[end] !== '\n' || body !== letter.repeat(length) || Number(found[2]) !== this.#options.sequence) {
      this.wrong = `a record that is not whole: ${JSON.stringify(this.#rest.slice(0, 200))}`
      return false
    }
    this.#rest = this.#rest.slice(end + 1)
    const of = { kind: Number(found[3]), a: Number(found[4]), b: Number(found[5]), last: found[6] === '1' }
    if (of.kind === kind.published) this.#checkPublished(letter, of, found[0])
    this.#check(of, found[0])
    return true
  }

  /** A publisher's come in the order in which it made them, and once. */
  #checkPublished(letter: string, { a, b }: RecordHead, text: string): void {
    const key = `${letter}.${b}`
    const before = this.#published.get(key) ?? -1
    if (a <= before) this.wrong = `publication ${text} after ${before}`
    this.#published.set(key, a)
    this.publications.set(letter, [...(this.publications.get(letter) ?? []), `${a}.${b}`])
  }

  #check({ kind: what, a, b, last }: RecordHead, text: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1
    const isPart = what === kind.part || what === kind.free
    const reply = isPart ? `${what}.${a}` : undefined
    if (this.#openReply !== undefined) {
      if (reply !== this.#openReply || b <= this.#part)
        this.wrong = `${text} inside of reply ${this.#openReply}, part ${this.#part}`
      this.#part = b
      if (last) this.#openReply = undefined
      return
    }
    if (isPart && !last) this.#openReply = reply
    this.#part = b
    if (what === kind.loose) {
      if (a <= (this.#numbers.get(b) ?? -1)) this.wrong = `${text} after ${this.#numbers.get(b)}`
      this.#numbers.set(b, a)
    }
    if (what !== kind.ordered && what !== kind.part) return
    const place = what === kind.ordered ? placeOf(a, b) : a
    if (this.#options.inOrder && place <= this.#place) this.wrong = `${text} at place ${place}, after ${this.#place}`
    this.#place = place
  }
}
