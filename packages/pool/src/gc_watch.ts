import { PerformanceObserver } from 'node:perf_hooks'

/** Records are kept this long: a stall is looked into a moment after it happened. */
const keptMs = 1_000

/** When the garbage collector stopped this thread. */
export class GcWatch {
  readonly #pauses: { from: number; to: number }[] = []
  readonly #observer = new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) this.#pauses.push({ from: startTime, to: startTime + duration })
    const now = performance.now()
    while (this.#pauses.length > 0 && this.#pauses[0]!.to < now - keptMs) this.#pauses.shift()
  })

  constructor() {
    this.#observer.observe({ entryTypes: ['gc'] })
  }

  /** How much of the time between the two went into collecting, in ms. */
  between(from: number, to: number): number {
    return this.#pauses.reduce((sum, pause) => sum + Math.max(0, Math.min(pause.to, to) - Math.max(pause.from, from)), 0)
  }

  close(): void {
    this.#observer.disconnect()
  }
}
