import type { LoadResult } from './load.js'

/** The metrics of a sample, each with its unit. */
export const metrics = {
  throughput: { title: 'messages/s', digits: 0 },
  p50: { title: 'p50 µs', digits: 0 },
  p99: { title: 'p99 µs', digits: 0 },
  cpu: { title: 'CPU µs/message', digits: 2 },
  cores: { title: 'cores busy', digits: 2 },
  light: { title: 'light/s', digits: 0 },
  heavy: { title: 'heavy/s', digits: 0 },
  heavyP99: { title: 'heavy p99 ms', digits: 1 },
  bytes: { title: 'bytes/connection', digits: 0 },
  serveMs: { title: 'listens after ms', digits: 0 },
  processMs: { title: 'since the process began, ms', digits: 0 },
} as const

export type Metric = keyof typeof metrics

/** Of the others, less is better. */
export const moreIsBetter: ReadonlySet<Metric> = new Set(['throughput', 'light', 'heavy'])

export type Values = Partial<Record<Metric, number>>

/** The values of one window of the load generator. */
export function valuesOf(result: LoadResult): Values {
  const { requests, seconds, throughput, p50, p99, serverCpuUs, beside } = result
  const cores = serverCpuUs / (seconds * 1e6)
  if (beside !== undefined) {
    return { light: throughput, p50, p99, heavy: beside.throughput, heavyP99: beside.p99 / 1_000, cores }
  }
  return { throughput, p50, p99, cores, ...(requests > 0 ? { cpu: serverCpuUs / requests } : {}) }
}

export function shownValue(metric: Metric, value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '-'
  const { digits } = metrics[metric]
  return digits === 0 ? Math.round(value).toLocaleString('en-US') : value.toFixed(digits)
}
