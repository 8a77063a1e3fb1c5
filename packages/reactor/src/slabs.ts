import { Buffer } from 'node:buffer'
import { bufferOf } from '@multireactor/addon'

const none = -1

/** The memory that the rows of a batch point into, by the slab's number. Most rows name the slab of the row before. */
export class Slabs {
  readonly #slabs = new Map<number, ArrayBuffer>()
  #id = none
  #memory: ArrayBuffer | undefined
  /** All of it as a buffer, once it was requested. */
  #whole: Buffer | undefined

  add(id: number, memory: ArrayBuffer): void {
    this.#slabs.set(id, memory)
  }

  of(id: number): ArrayBuffer {
    if (id !== this.#id) {
      this.#memory = this.#slabs.get(id)
      this.#id = id
      this.#whole = undefined
    }
    return this.#memory!
  }

  whole(id: number): Buffer {
    const memory = this.of(id)
    this.#whole ??= Buffer.from(memory)
    return this.#whole
  }

  /** The bytes of a row: its slab stands at `at`, and behind it the offset and the length. */
  bytes(rows: Uint32Array, at: number): Buffer {
    return bufferOf(this.of(rows[at]!), rows[at + 1]!, rows[at + 2]!)
  }

  /** Lets go of those older than `oldest`, but for the one that is being filled: other users hold references of their own. */
  keepFrom(oldest: number, current: number): void {
    for (const id of this.#slabs.keys()) {
      if (id < oldest && id !== current) this.#slabs.delete(id)
    }
    if (this.#slabs.has(this.#id)) return
    this.#id = none
    this.#memory = this.#whole = undefined
  }
}
