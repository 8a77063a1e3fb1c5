/** So many are looked at in one turn of the event loop. */
const mostInTurn = 1_000

/**
 * Things that are due after the same time each, so that the first to come is the first to be due, and one timer is enough for any
 * number of them.
 */
export class Deadlines<T> {
  readonly #afterMs: number
  readonly #onDue: (item: T) => void
  readonly #due = new Map<T, number>()
  #armed = false

  /** `afterMs` 0: nothing is ever due. */
  constructor(afterMs: number, onDue: (item: T) => void) {
    this.#afterMs = afterMs
    this.#onDue = onDue
  }

  /** From now on, also if it is there already. */
  add(item: T): void {
    if (this.#afterMs === 0) return
    this.#due.delete(item)
    this.#due.set(item, performance.now() + this.#afterMs)
    if (!this.#armed) this.#arm(this.#afterMs)
  }

  delete(item: T): void {
    this.#due.delete(item)
  }

  #arm(inMs: number): void {
    this.#armed = true
    // A late timer must not time out bytes that the peer sent in time and that are still unread: sockets come between it and the immediate.
    setTimeout(() => setImmediate(() => this.#look()), Math.max(1, inMs)).unref()
  }

  #look(): void {
    this.#armed = false
    const now = performance.now()
    let left = mostInTurn
    for (const [item, due] of this.#due) {
      if (due > now) return this.#arm(due - now)
      if (left-- === 0) return this.#arm(0)
      this.#due.delete(item)
      this.#onDue(item)
    }
  }
}
