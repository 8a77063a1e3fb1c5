/** How long the hooks of one batch may run before the rest of it is handed back; `kHooksNs` of `native/src/reactor/reactor.h`. */
const mostMs = 2
/** Rows that run before the first look at the clock: small batches are not timed. */
const firstLook = 8
const mostRows = 64
/** So long between two looks, and the next one comes sooner. */
const longMs = 0.5

/**
 * The time that the hooks of a batch have. Looking at the clock costs about as much as a cheap hook, so it is looked at after 8 rows, 16, 32:
 * sooner where hooks have proved to be slow, and behind each row that is known to be dear.
 */
export class HookTime {
  /** The row before which the clock is looked at. */
  lookAt: number = firstLook
  #since = 0
  #lookedAt = 0
  #step = firstLook
  #over = false
  /** Rows of this batch that were handed out before the ones at hand. */
  before = 0

  begin(): void {
    this.lookAt = firstLook
    this.#since = 0
    this.#step = firstLook
    this.#over = false
    this.before = 0
  }

  /** The same batch goes on with further rows. */
  goOn(rows: number): void {
    this.before += rows
    this.lookAt = this.#over ? 0 : Math.max(0, this.lookAt - rows)
  }

  /** The clock runs from here on: what comes is one row, and may be many hooks. */
  start(): void {
    if (this.#since === 0) this.#since = this.#lookedAt = performance.now()
  }

  /** The row at hand is dear: the next one waits for a look. */
  soon(): void {
    this.lookAt = 0
  }

  /** Asked before row `at`, which is `lookAt` or behind it. */
  isOver(at: number): boolean {
    if (this.#over) return true
    this.start()
    const now = performance.now()
    if (now - this.#since >= mostMs) {
      this.#over = true
      this.lookAt = 0
      return true
    }
    this.#step = now - this.#lookedAt >= longMs ? 1 : Math.min(2 * this.#step, mostRows)
    this.#lookedAt = now
    this.lookAt = at + this.#step
    return false
  }
}
