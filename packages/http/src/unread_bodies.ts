/** Bytes of bodies that may lie in the streams of one connection's responses. */
const mostUnread = 64 << 10
/** The assumed size of a body before a larger one has been seen. */
const leastBody = 16 << 10

/**
 * The body of Node's `Response` lies in a stream that no limit counts, from the moment in which a `fetch` handler makes it until it is read,
 * and the handlers of a batch all run before the first body can be read. So few requests of one connection run at a time: as many as
 * have room by the largest body that this app has answered with, and at least one. `LightResponse` has no stream: an app that answers
 * with nothing else runs them all at once.
 */
export class UnreadBodies {
  #largest = leastBody
  #light = false
  #streams = false

  /** How many requests of one connection may run whose responses have not begun. */
  get most(): number {
    if (this.#light && !this.#streams) return Number.POSITIVE_INFINITY
    return Math.max(1, Math.floor(mostUnread / this.#largest))
  }

  sawLight(): void {
    this.#light = true
  }

  sawStream(): void {
    this.#streams = true
  }

  /** The bytes that one read of a stream has given: for bytes, strings and blobs the whole body. */
  sawPiece(bytes: number): void {
    if (bytes > this.#largest) this.#largest = bytes
  }
}
