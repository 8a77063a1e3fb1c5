import { MultireactorError } from '@multireactor/addon'
import { type Allocate, WaitingBytes } from '@multireactor/reactor/parts'

/** Bytes of a body that may wait for their reader before the connection is paused. */
const mostQueued = 64 << 10

/** Of a body that is collected: a piece that is a part of a slab keeps all of its 256 KiB alive. */
const leastKept = 16 << 10

/** The sender of a body: it can be paused. */
export interface BodySource {
  pauseBody(): void
  resumeBody(): void
  /** The handler wants the body, for the first time. */
  beginBody(): void
}

/** A request body that arrives in pieces, and its one reader. */
export class StreamedBody {
  readonly #source: BodySource
  readonly #allocate: Allocate
  readonly #pieces: WaitingBytes
  /** For a reader that waits: nothing else does. */
  #handed: Buffer | undefined
  #received = 0
  #begun = false
  #paused = false
  #ended = false
  #error: Error | undefined
  #waiting: { resolve(done: boolean): void; reject(error: Error): void } | undefined

  /** `allocate`: memory for waiting bytes. */
  constructor(source: BodySource, allocate: Allocate) {
    this.#source = source
    this.#allocate = allocate
    this.#pieces = new WaitingBytes(allocate)
  }

  get received(): number {
    return this.#received
  }
  get begun(): boolean {
    return this.#begun
  }
  /** All of it has come, or nothing more will. */
  get over(): boolean {
    return this.#ended || this.#error !== undefined
  }

  push(piece: Buffer): void {
    this.#received += piece.length
    if (piece.length === 0 || this.#error) return
    if (this.#waiting && this.#isEmpty) {
      this.#handed = piece
      return this.#wake()
    }
    this.#pieces.push(piece)
    if (this.#pieces.length >= mostQueued && !this.#paused) {
      this.#paused = true
      this.#source.pauseBody()
    }
  }

  get #isEmpty(): boolean {
    return this.#handed === undefined && this.#pieces.length === 0
  }

  end(): void {
    this.#ended = true
    this.#wake()
  }

  fail(error: Error): void {
    if (this.over) return
    this.#error = error
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.reject(error)
  }

  /** The next piece, or undefined at the end. Rejects when the rest does not come. */
  async next(): Promise<Buffer | undefined> {
    if (!this.#begun) {
      this.#begun = true
      if (!this.over && this.#isEmpty) this.#source.beginBody()
    }
    if (this.#isEmpty && !this.over) {
      if (this.#waiting) throw new MultireactorError('ERR_MR_HTTP', 'a request body has one reader, and another one waits for it')
      await new Promise((resolve, reject) => {
        this.#waiting = { resolve, reject }
      })
    }
    const piece = this.#take()
    if (piece === undefined) {
      if (this.#error) throw this.#error
      return undefined
    }
    if (this.#paused && this.#pieces.length < mostQueued / 2) {
      this.#paused = false
      this.#source.resumeBody()
    }
    return piece
  }

  /** All of it from here on, in one piece. Rejects when the rest does not come. */
  async all(): Promise<Buffer> {
    const first = (await this.next()) ?? Buffer.alloc(0)
    if (this.over && this.#error === undefined && this.#isEmpty) return first
    // Copied once, when all of it is there: a whole that doubles as it comes is fresh memory of twice the size.
    const whole = new WaitingBytes(this.#allocate, leastKept)
    for (let piece: Buffer | undefined = first; piece; piece = await this.next()) whole.push(piece)
    return whole.join()
  }

  #take(): Buffer | undefined {
    const piece = this.#handed
    if (!piece) return this.#pieces.shift()
    this.#handed = undefined
    return piece
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.resolve(true)
  }
}
