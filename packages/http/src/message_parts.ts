const least = 1 << 10

/** The fragments of one message in one piece of memory: a million of one byte must not be a million objects. */
export class MessageParts {
  readonly isText: boolean
  #bytes: Buffer
  #length = 0

  constructor(isText: boolean, mostBytes: number) {
    this.isText = isText
    this.#bytes = Buffer.allocUnsafeSlow(Math.min(least, mostBytes))
  }

  /** `mostBytes` is what the framing lets through. */
  push(part: Uint8Array, mostBytes: number): void {
    const length = this.#length + part.length
    if (length > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(length, this.#bytes.length * 2), Math.max(mostBytes, length)))
      grown.set(this.#bytes.subarray(0, this.#length))
      this.#bytes = grown
    }
    this.#bytes.set(part, this.#length)
    this.#length = length
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }
}
