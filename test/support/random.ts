/** A small seeded generator (mulberry32): the same seed gives the same storm. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 to below `limit`, whole. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit)
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!
  }

  /** Bytes that no shift, loss or repetition leaves unnoticed. */
  bytes(count: number): Buffer {
    const bytes = Buffer.allocUnsafe(count)
    for (let i = 0; i < count; i++) bytes[i] = this.below(256)
    return bytes
  }
}

/** `STORM_SEED`, or a new one; printed, so that a failure can be run again. */
export function stormSeed(): number {
  const seed = Number(process.env['STORM_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  console.log(`    STORM_SEED=${seed}`)
  return seed
}
