import { lengthOf, writeUtf8 } from '@multireactor/addon'
import type { Bytes } from './task_context.js'

/**
 * Replies on their way to the native side, in native memory, so that a reply that is not handed over yet is not lost when this
 * thread dies. A row names offset and length of its bytes; its other columns are the owner's.
 */
export class ReplyBox {
  readonly rows: Uint32Array
  readonly #bytes: Buffer
  readonly #words: Uint32Array
  readonly #countAt: number
  readonly #row: { words: number; offset: number; length: number }
  #used = 0
  #length = 0

  /** `words[countAt]`: how many rows there are. */
  constructor(
    words: Uint32Array,
    countAt: number,
    rows: Uint32Array,
    row: { words: number; offset: number; length: number },
    bytes: Uint8Array,
  ) {
    this.rows = rows
    this.#words = words
    this.#countAt = countAt
    this.#row = row
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get count(): number {
    return this.#words[this.#countAt]!
  }

  get isEmpty(): boolean {
    return this.#words[this.#countAt] === 0
  }

  /** Copies the bytes in, and returns where their row begins; undefined when there is no room. Throws for a value without bytes. */
  put(bytes: Bytes): number | undefined {
    const most = typeof bytes === 'string' ? bytes.length * 3 : lengthOf(bytes)
    if (this.#words[this.#countAt] === 0) this.#used = 0
    // One large reply must not push the small ones out of the box.
    if (most > this.#bytes.length / 4) return undefined
    const at = this.#words[this.#countAt]! * this.#row.words
    if (this.#used + most > this.#bytes.length || at === this.rows.length) return undefined
    this.#length = most
    if (typeof bytes === 'string') this.#length = writeUtf8(this.#bytes, bytes, this.#used, most)
    else this.#bytes.set(bytes, this.#used)
    return at
  }

  /** The other columns of the row at `at` are written. */
  written(at: number): void {
    this.rows[at + this.#row.offset] = this.#used
    this.rows[at + this.#row.length] = this.#length
    this.#used += this.#length
    // Last: a reader that comes after this thread has died must find a whole row.
    this.#words[this.#countAt]!++
  }

  clear(): void {
    this.#words[this.#countAt] = 0
    this.#used = 0
  }
}
