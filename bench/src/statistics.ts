export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const missedOnEachSide = 0.025

/**
 * The interval that holds the true median with 95 % confidence, from the order of the values alone: it trusts no shape of the noise.
 * Five values or fewer cannot say so much; it is then their whole range.
 */
export function medianInterval(values: readonly number[]): [low: number, high: number] {
  const sorted = [...values].sort((a, b) => a - b)
  let outside = 0
  let probability = 0.5 ** sorted.length
  for (let heads = 0; probability <= missedOnEachSide && heads < sorted.length >> 1; heads++) {
    outside = heads
    probability += choose(sorted.length, heads + 1) * 0.5 ** sorted.length
  }
  return [sorted[outside]!, sorted[sorted.length - 1 - outside]!]
}

function choose(of: number, taken: number): number {
  let ways = 1
  for (let i = 1; i <= taken; i++) ways = (ways * (of - taken + i)) / i
  return ways
}

/** A median, the interval that holds it, and of how many values. */
export interface Spread {
  median: number
  low: number
  high: number
  count: number
}

export function spreadOf(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined
  const [low, high] = medianInterval(values)
  return { median: median(values), low, high, count: values.length }
}
