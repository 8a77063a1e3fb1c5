import type { Metric } from './metric.js'
import type { Sample } from './rounds.js'
import { type Spread, spreadOf } from './statistics.js'
import { planOf, type WorkloadName } from './workload.js'

export interface Row {
  server: string
  /** Medians over the rounds, each with its interval. */
  values: Partial<Record<Metric, Spread>>
  /** The work's first figure against that of the reference: the median of the ratios of the same round, and its interval. */
  ratio?: Spread
  failures: string[]
}

/** All servers on one work with one setting. */
export interface Case {
  work: WorkloadName
  connections: number
  inFlight: number
  pinned: boolean
  metric: Metric
  reference: string
  rows: Row[]
}

/** `against`: the server that ratios refer to, instead of each work's own reference. */
export function summarize(samples: readonly Sample[], serverOrder: readonly string[], against: string | undefined): Case[] {
  const cases = new Map<string, Sample[]>()
  for (const sample of samples) {
    const key = `${sample.work} ${sample.connections} ${sample.inFlight} ${sample.pinned}`
    const inCase = cases.get(key)
    if (inCase === undefined) cases.set(key, [sample])
    else inCase.push(sample)
  }
  return [...cases.values()].map((inCase) => {
    const { work, connections, inFlight, pinned } = inCase[0]!
    const [metric] = planOf(work).metrics
    const reference = against ?? planOf(work).reference
    const present = serverOrder.filter((server) => inCase.some((sample) => sample.server === server))
    const rows = present.map((server) => rowOf(server, inCase, metric, reference))
    return { work, connections, inFlight, pinned, metric, reference, rows }
  })
}

function rowOf(server: string, inCase: readonly Sample[], metric: Metric, reference: string): Row {
  const own = inCase.filter((sample) => sample.server === server)
  const values: Row['values'] = {}
  for (const each of planOf(own[0]!.work).metrics) {
    const spread = spreadOf([...byRound(own, each).values()])
    if (spread !== undefined) values[each] = spread
  }
  const ratio = spreadOf(
    pairedRatios(
      own,
      metric,
      inCase.filter((sample) => sample.server === reference),
      metric,
    ),
  )
  const failures = [...new Set(own.flatMap(({ failure }) => failure ?? []))]
  return { server, values, ...(ratio === undefined ? {} : { ratio }), failures }
}

/** One figure of every round that has it. */
export function byRound(samples: readonly Sample[], metric: Metric): Map<number, number> {
  const values = new Map<number, number>()
  for (const sample of samples) {
    const value = sample.values?.[metric]
    if (value !== undefined && Number.isFinite(value)) values.set(sample.round, value)
  }
  return values
}

/** The ratios of rounds in which both were measured: a disturbance of a round meets both, and cancels. */
export function pairedRatios(own: readonly Sample[], metric: Metric, base: readonly Sample[], baseMetric: Metric): number[] {
  const bases = byRound(base, baseMetric)
  return [...byRound(own, metric)].flatMap(([round, value]) => {
    const other = bases.get(round)
    return other === undefined || other === 0 ? [] : [value / other]
  })
}
