import { type NativeReactorDriver, writeLatin1, writeRow as rowTable, writeUtf8 } from '@multireactor/addon'

// See engine.ts: constants of another module are loaded each time.
const writeRow = rowTable

/** A larger write costs more to copy than to hand over. */
const mostBytes = 16 << 10

/**
 * Writes of the `message` hook that is running. They lie in native memory and take effect when the batch has been handed out, or
 * before the next call into the driver, so that a small write costs no call of its own.
 */
export class WriteBox {
  readonly #count: Uint32Array
  readonly #rows: Uint32Array
  readonly #bytes: Buffer
  readonly #mostRows: number
  #used = 0

  constructor(driver: NativeReactorDriver) {
    const { buffer, byteOffset, byteLength } = driver.boxBytes
    this.#count = driver.boxCount
    this.#rows = driver.boxRows
    this.#bytes = Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength)
    this.#mostRows = driver.boxRows.length / writeRow.words
  }

  /**
   * How many bytes it took, or -1 when there is no room: then the driver is to be called. `most`: how many bytes the data has at most, as
   * `mostBytesOf` says: a row whose length is no number would give the next ones to other connections. `room`: a larger write is not taken.
   * `ascii`: the text is known to be nothing else.
   */
  add(slot: number, generation: number, data: string | Uint8Array, most: number, room: number, ascii = false): number {
    if (most > mostBytes || most >= room) return -1
    const count = this.#count[0]!
    // The driver has emptied it.
    if (count === 0) this.#used = 0
    const used = this.#used
    if (count === this.#mostRows || used + most > this.#bytes.length) return -1
    let length = most
    if (typeof data !== 'string') this.#bytes.set(data, used)
    else length = ascii ? writeLatin1(this.#bytes, data, used, most) : writeUtf8(this.#bytes, data, used, most)
    const rows = this.#rows
    const at = count * writeRow.words
    rows[at + writeRow.slot] = slot
    rows[at + writeRow.generation] = generation
    rows[at + writeRow.offset] = used
    rows[at + writeRow.length] = length
    // Last: a thread that dies before this line has not written.
    this.#count[0] = count + 1
    this.#used = used + length
    return length
  }
}
