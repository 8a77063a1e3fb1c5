import { Buffer } from 'node:buffer'

/**
 * Bytes that a custom framer has seen and not used, while they grow. Bytes are added behind it in place, and to memory twice the
 * size when there is no room, so that each is copied a few times however small the pieces are that it came in. Memory handed out is
 * never written again: memory is only filled towards its end, and not used anew.
 */
export class UnreadBytes {
  readonly #newMemory: (size: number) => ArrayBuffer
  #memory: Buffer
  #start = 0
  #end: number

  constructor(bytes: Uint8Array, newMemory: (size: number) => ArrayBuffer) {
    this.#newMemory = newMemory
    this.#memory = Buffer.from(newMemory(2 * bytes.length))
    this.#memory.set(bytes)
    this.#end = bytes.length
  }

  /** All of it, with these behind it. */
  append(bytes: Uint8Array): Buffer {
    const size = this.#end - this.#start + bytes.length
    if (this.#end + bytes.length > this.#memory.length) {
      const memory = Buffer.from(this.#newMemory(2 * size))
      this.#memory.copy(memory, 0, this.#start, this.#end)
      this.#memory = memory
      this.#end -= this.#start
      this.#start = 0
    }
    this.#memory.set(bytes, this.#end)
    this.#end += bytes.length
    return this.#memory.subarray(this.#start, this.#end)
  }

  consume(size: number): void {
    this.#start += size
  }
}
