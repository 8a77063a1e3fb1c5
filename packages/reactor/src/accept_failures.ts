import { util } from './builtins.js'

/** A listener that cannot accept tries again ten times a second, on each reactor: nobody wants to read each of them. */
const quietMs = 1_000

/** Puts failed accepts into words, at most once a second. Counts nothing for good: `stats()` has `acceptErrors`. */
export class AcceptFailures {
  #saidAt = -Infinity
  #unsaid = 0

  /** What to say of this one, or nothing yet. */
  sentence(errno: number, listener: string): string | undefined {
    const now = performance.now()
    if (now - this.#saidAt < quietMs) {
      this.#unsaid++
      return undefined
    }
    const before = this.#unsaid === 0 ? '' : ` (${this.#unsaid} more failures since the last such message)`
    this.#saidAt = now
    this.#unsaid = 0
    return `listener ${listener} cannot accept: ${util().getSystemErrorName(-errno)}; trying again every 100 ms${before}`
  }
}
