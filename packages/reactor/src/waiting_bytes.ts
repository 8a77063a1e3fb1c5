import { Buffer } from 'node:buffer'

/** Gives memory that `limits.memory` counts until it is collected. */
export type Allocate = (bytes: number) => Buffer

/** A smaller piece is copied: on its own it would cost more in the heap than it holds, and keep a slab of 256 KiB alive. */
export const smallPiece: number = 4 << 10
const mostBlock = 64 << 10

/**
 * Received bytes that wait for their reader. Small pieces are joined in blocks of counted memory, so that waiting bytes cost at most
 * about twice their size, however small the pieces were that the peer has sent.
 */
export class WaitingBytes {
  readonly #allocate: Allocate
  readonly #leastKept: number
  readonly #pieces: Buffer[] = []
  /** The block that is being filled; its bytes from `#taken` to `#filled` wait behind `#pieces`. */
  #block: Buffer | undefined
  #taken = 0
  #filled = 0
  #length = 0

  /** `leastKept`: a smaller piece is copied, a larger one stays where it is. */
  constructor(allocate: Allocate, leastKept: number = smallPiece) {
    this.#allocate = allocate
    this.#leastKept = leastKept
  }

  get length(): number {
    return this.#length
  }

  push(piece: Buffer): void {
    this.#length += piece.length
    if (piece.length >= this.#leastKept) {
      this.#seal()
      this.#pieces.push(piece)
      return
    }
    let at = 0
    while (at < piece.length) {
      if (!this.#block || this.#filled === this.#block.length) this.#nextBlock()
      const copied = piece.copy(this.#block!, this.#filled, at)
      this.#filled += copied
      at += copied
    }
  }

  /** As many bytes as lie together; undefined when there are none. They are never written again. */
  shift(): Buffer | undefined {
    if (this.#pieces.length === 0) this.#seal()
    const piece = this.#pieces.shift()
    if (piece) this.#length -= piece.length
    return piece
  }

  /** All of it in one piece, in counted memory. */
  join(): Buffer {
    const { length } = this
    const first = this.shift()
    if (!first || first.length === length) return first ?? Buffer.alloc(0)
    const whole = this.#allocate(length)
    let at = 0
    for (let piece: Buffer | undefined = first; piece; piece = this.shift()) at += piece.copy(whole, at)
    return whole
  }

  /** The contents of the block become a piece; the rest of the block is filled later. */
  #seal(): void {
    if (this.#taken === this.#filled) return
    this.#pieces.push(this.#block!.subarray(this.#taken, this.#filled))
    this.#taken = this.#filled
  }

  #nextBlock(): void {
    this.#seal()
    this.#block = this.#allocate(Math.min(Math.max(smallPiece, (this.#block?.length ?? 0) * 4), mostBlock))
    this.#taken = this.#filled = 0
  }
}

/** Bytes that are collected to one whole, in counted memory that doubles as they come: a million of one byte are not a million objects. */
export class GrowingBytes {
  readonly #allocate: Allocate
  readonly #mostBytes: number
  #bytes: Buffer | undefined
  #length = 0

  /** `mostBytes`: no more room than that is asked for ahead of the bytes. */
  constructor(allocate: Allocate, mostBytes: number) {
    this.#allocate = allocate
    this.#mostBytes = mostBytes
  }

  push(part: Uint8Array): void {
    const length = this.#length + part.length
    const room = this.#bytes?.length ?? 0
    if (length > room || !this.#bytes) {
      const grown = this.#allocate(Math.max(length, Math.min(Math.max(1 << 10, room * 2), this.#mostBytes), 1))
      if (this.#bytes) grown.set(this.#bytes.subarray(0, this.#length))
      this.#bytes = grown
    }
    this.#bytes.set(part, this.#length)
    this.#length = length
  }

  get bytes(): Buffer {
    return this.#bytes?.subarray(0, this.#length) ?? Buffer.alloc(0)
  }
}
