import { MultireactorError } from '@multireactor/addon'

/** Bytes of a body that may wait for their reader before the connection is paused. */
const mostQueued = 64 << 10

/** Who sends a body: it can be told to wait. */
export interface BodySource {
  pauseBody(): void
  resumeBody(): void
  /** Somebody wants the body, for the first time. */
  beginBody(): void
}

/** A request body that arrives in pieces, and its one reader. */
export class StreamedBody {
  readonly #source: BodySource
  readonly #pieces: Buffer[] = []
  #size = 0
  #received = 0
  #begun = false
  #paused = false
  #ended = false
  #error: Error | undefined
  #waiting: { resolve(done: boolean): void; reject(error: Error): void } | undefined

  constructor(source: BodySource) {
    this.#source = source
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
    this.#pieces.push(piece)
    this.#size += piece.length
    if (this.#size >= mostQueued && !this.#paused) {
      this.#paused = true
      this.#source.pauseBody()
    }
    this.#wake()
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
      if (!this.over && this.#pieces.length === 0) this.#source.beginBody()
    }
    if (this.#pieces.length === 0 && !this.over) {
      if (this.#waiting) throw new MultireactorError('ERR_MR_HTTP', 'a request body has one reader, and another one waits for it')
      await new Promise((resolve, reject) => {
        this.#waiting = { resolve, reject }
      })
    }
    const piece = this.#pieces.shift()
    if (piece === undefined) {
      if (this.#error) throw this.#error
      return undefined
    }
    this.#size -= piece.length
    if (this.#paused && this.#size < mostQueued / 2) {
      this.#paused = false
      this.#source.resumeBody()
    }
    return piece
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.resolve(true)
  }
}
