import type { Sample } from './rounds.js'
import { median, medianInterval } from './statistics.js'

export interface Row {
  server: string
  throughput: number
  p50: number
  p99: number
  cpuPerMessage: number
  /** CPU per message against that of the server named by --against: the median of the ratios of the same round, and its interval. */
  ratio?: { median: number; low: number; high: number }
  failures: string[]
}

/** All servers on one work with one setting. */
export interface Case {
  work: string
  connections: number
  inFlight: number
  rows: Row[]
}

export function summarize(samples: readonly Sample[], serverOrder: readonly string[], against: string): Case[] {
  const cases = new Map<string, Sample[]>()
  for (const sample of samples) {
    const key = `${sample.work} ${sample.connections} ${sample.inFlight}`
    cases.set(key, [...(cases.get(key) ?? []), sample])
  }
  return [...cases.values()].map((inCase) => {
    const { work, connections, inFlight } = inCase[0]!
    const present = serverOrder.filter((server) => inCase.some((sample) => sample.server === server))
    return { work, connections, inFlight, rows: present.map((server) => rowOf(server, inCase, against)) }
  })
}

function rowOf(server: string, inCase: readonly Sample[], against: string): Row {
  const own = inCase.filter((sample) => sample.server === server)
  const results = own.flatMap(({ result }) => result ?? [])
  const failures = [...new Set(own.flatMap(({ failure }) => failure ?? []))]
  const ratios = own.flatMap((sample) => ratioInRound(sample, inCase, against))
  const [low, high] = medianInterval(ratios)
  return {
    server,
    throughput: median(results.map(({ throughput }) => throughput)),
    p50: median(results.map(({ p50 }) => p50)),
    p99: median(results.map(({ p99 }) => p99)),
    cpuPerMessage: median(own.flatMap(cpuPerMessage)),
    ...(ratios.length > 0 ? { ratio: { median: median(ratios), low, high } } : {}),
    failures,
  }
}

function ratioInRound(sample: Sample, inCase: readonly Sample[], against: string): number[] {
  const other = inCase.find(({ server, round }) => server === against && round === sample.round)
  const [own] = cpuPerMessage(sample)
  const [base] = other === undefined ? [] : cpuPerMessage(other)
  return own === undefined || base === undefined ? [] : [own / base]
}

function cpuPerMessage({ result }: Sample): number[] {
  return result === undefined || result.requests === 0 ? [] : [result.serverCpuUs / result.requests]
}
