const most = 10
const perSecond = 2

/** How many messages a member may send: ten at once, and two a second from then on. */
export class Allowance {
  #left = most
  #since = performance.now()

  take(): boolean {
    const now = performance.now()
    this.#left = Math.min(most, this.#left + ((now - this.#since) / 1_000) * perSecond)
    this.#since = now
    if (this.#left < 1) return false
    this.#left--
    return true
  }
}
