/** How long the hooks of one batch may run before the rest of it is handed back; `kHooksNs` of `native/src/reactor/reactor.h`. */
const mostMs = 2
/** Rows that run before the first look at the clock: small batches are not timed. */
const firstLook = 8
const mostRows = 64
/** So long between two looks, and the next one comes sooner. */
const longMs = 0.5
/** So many rows of a listener are dear behind one that took long: each is followed by a look. */
export const dearRows: number = 64
/** Of a fresh listener, whose code is not compiled yet. */
export const firstDear: number = 16

/**
 * The time that the hooks of a batch have. Looking at the clock costs about as much as a cheap hook, so it is looked at after 8 rows, 16, 32:
 * sooner where hooks have proved to be slow, and behind each row that is known to be dear.
 */
export class HookTime {
  /** The row before which the clock is looked at. */
  lookAt: number = firstLook
  /** The same, if no row is dear. */
  #planned = firstLook
  #since = 0
  #lookedAt = 0
  #step = firstLook
  #over = false
  /** Rows of this batch that were handed out before the ones at hand. */
  before = 0
  /** The last look found that much time had passed since the one before. */
  long = false

  begin(): void {
    this.lookAt = this.#planned = firstLook
    this.#since = 0
    this.#step = firstLook
    this.#over = false
    this.before = 0
  }

  /** The same batch goes on with further rows. */
  goOn(rows: number): void {
    this.before += rows
    this.#planned = Math.max(0, this.#planned - rows)
    this.lookAt = this.#over ? 0 : Math.max(0, this.lookAt - rows)
  }

  /** The clock runs from here on: the next work is one row, and may be many hooks. */
  start(): void {
    if (this.#since === 0) this.#since = this.#lookedAt = performance.now()
  }

  /** The row at hand is dear: the clock runs from here on, and the next one waits for a look. */
  soon(): void {
    this.start()
    this.lookAt = 0
  }

  /** Asked before row `at`, which is `lookAt` or behind it; 0: within a row. */
  isOver(at: number): boolean {
    if (this.#over) return true
    this.start()
    const now = performance.now()
    this.long = now - this.#lookedAt >= longMs
    if (now - this.#since >= mostMs) {
      this.#over = true
      this.lookAt = 0
      return true
    }
    if (this.long) this.#step = 1
    else if (at >= this.#planned) this.#step = Math.min(2 * this.#step, mostRows)
    if (this.long || at >= this.#planned) this.#planned = at + this.#step
    this.#lookedAt = now
    this.lookAt = this.#planned
    return false
  }
}
