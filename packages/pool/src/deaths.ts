/** How long threads that die again and again are made to wait. */
export interface DeathsOptions {
  firstBackoffMs: number
  mostBackoffMs: number
  /** So many deaths within the time are followed by a successor at once. */
  quick: number
  /** Older deaths do not count. */
  withinMs: number
}

/** The deaths of the threads of one place, as far as they count, and when the next successor may start. */
export class Deaths {
  readonly #options: DeathsOptions
  #at: number[] = []

  constructor(options: DeathsOptions) {
    this.#options = options
  }

  /** Counts one, and returns how many there were within the time. */
  add(): number {
    const now = performance.now()
    this.#at = [...this.#at.filter((at) => now - at < this.#options.withinMs), now]
    return this.#at.length
  }

  /** Milliseconds until the next one may start, which doubles with each death too many, or each successor that did not start. */
  delayMs(failures: number): number {
    const { firstBackoffMs, mostBackoffMs, quick } = this.#options
    const tooMany = Math.max(failures, this.#at.length - quick)
    return tooMany <= 0 ? 0 : Math.min(firstBackoffMs * 2 ** (tooMany - 1), mostBackoffMs)
  }
}
