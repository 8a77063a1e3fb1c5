import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { documents, largeOrders, orders } from './documents.js'
import type { LoadShape } from './load.js'
import type { Metric } from './metric.js'
import { answer, type Work } from './work.js'

/** How a measurement is made: windows of the load generator, resident memory, or the time until a server listens. */
export type Kind = 'load' | 'idle' | 'start'

/** One line of the bench: the messages, their number, the metrics, and the meaning of 1.00. */
export interface WorkloadPlan {
  title: string
  kind: Kind
  work: Work
  /** Connections, and requests outstanding on each, where nothing else is asked for. */
  shapes: readonly LoadShape[]
  /** The shapes define the work: `--connections` and `--in-flight` do not change them. */
  fixed?: boolean
  /** The columns of its table; the first is the figure that ratios are made of, and that the chart shows. */
  metrics: readonly [Metric, ...Metric[]]
  /** The server that is 1.00. */
  reference: 'C epoll' | 'net'
  /** Pinned to one core each, unless `--pin` says otherwise: work that gains from more cores is not. */
  pinned: boolean
}

const usual: readonly [Metric, ...Metric[]] = ['cpu', 'throughput', 'p50', 'p99']
const depths = (connections: number, ...inFlight: number[]): LoadShape[] =>
  inFlight.map((depth) => ({ connections, inFlight: depth }))
const alone = { shapes: depths(1, 1), fixed: true, pinned: true } as const

export const plans = {
  echo: {
    title: 'echo, 64 bytes',
    kind: 'load',
    work: 'echo',
    shapes: depths(64, 1, 16),
    metrics: usual,
    reference: 'C epoll',
    pinned: true,
  },
  bytes: {
    title: 'lines of 64 bytes, returned as bytes by a handler',
    kind: 'load',
    work: 'bytes',
    shapes: depths(64, 1, 16),
    metrics: usual,
    reference: 'C epoll',
    pinned: true,
  },
  lines: {
    title: 'lines of 64 bytes, made text and returned by a handler',
    kind: 'load',
    work: 'lines',
    shapes: depths(64, 1, 16),
    metrics: usual,
    reference: 'C epoll',
    pinned: true,
  },
  json128: {
    title: 'JSON of 128 bytes: multiply, small reply',
    kind: 'load',
    work: 'orders',
    shapes: depths(50, 1, 16),
    metrics: usual,
    reference: 'C epoll',
    pinned: true,
  },
  json2k: {
    title: 'JSON of 2 KB: add up, small reply',
    kind: 'load',
    work: 'json',
    shapes: depths(50, 1, 16),
    metrics: usual,
    reference: 'net',
    pinned: true,
  },
  json20k: {
    title: 'JSON of 20 KB: add up, small reply',
    kind: 'load',
    work: 'json',
    shapes: depths(50, 1),
    metrics: ['throughput', 'cpu', 'cores', 'p50', 'p99'],
    reference: 'net',
    pinned: false,
  },
  json4k: {
    title: 'JSON of 2-7 KB in many scripts: count values and text',
    kind: 'load',
    work: 'json',
    shapes: depths(50, 1, 16),
    metrics: usual,
    reference: 'net',
    pinned: true,
  },
  data: {
    title: 'JSON from --data: count values and text',
    kind: 'load',
    work: 'json',
    shapes: depths(50, 1, 16),
    metrics: usual,
    reference: 'net',
    pinned: true,
  },
  churn: {
    title: 'connect, one echo of 64 bytes, close',
    kind: 'load',
    work: 'echo',
    shapes: depths(64, 1),
    fixed: true,
    metrics: usual,
    reference: 'net',
    pinned: true,
  },
  pingpong: {
    title: 'ping-pong of 64 bytes, raw',
    kind: 'load',
    work: 'echo',
    metrics: ['p50', 'p99', 'throughput', 'cpu'],
    reference: 'C epoll',
    ...alone,
  },
  'pingpong-lines': {
    title: 'ping-pong of a line of 64 bytes, by a handler',
    kind: 'load',
    work: 'lines',
    metrics: ['p50', 'p99', 'throughput', 'cpu'],
    reference: 'C epoll',
    ...alone,
  },
  isolation: {
    title: 'isolation: JSON of 64 bytes (4 connections) beside JSON of 200 KB (4 more)',
    kind: 'load',
    work: 'json',
    shapes: depths(4, 1),
    fixed: true,
    metrics: ['p99', 'p50', 'light', 'heavy', 'heavyP99', 'cores'],
    reference: 'net',
    pinned: false,
  },
  idle: {
    title: 'idle connections: slope of resident memory',
    kind: 'idle',
    work: 'idle',
    shapes: depths(15_000, 0),
    fixed: true,
    metrics: ['bytes'],
    reference: 'net',
    pinned: false,
  },
  start: {
    title: 'start of a server',
    kind: 'start',
    work: 'orders',
    shapes: depths(0, 0),
    fixed: true,
    metrics: ['serveMs', 'processMs'],
    reference: 'net',
    pinned: false,
  },
} as const satisfies Record<string, WorkloadPlan>

export type WorkloadName = keyof typeof plans

export const workloadNames = Object.keys(plans) as WorkloadName[]

export function planOf(name: WorkloadName): WorkloadPlan {
  return plans[name]
}

/** The requests of a measurement and the replies they must get. */
export interface Workload extends WorkloadPlan {
  name: WorkloadName
  /** How the load generator is told. */
  flags: string[]
}

const heavyConnections = 4

/** Writes the input of the load generator, and removes it at the end. */
export class Workloads {
  readonly #directory: string = mkdtempSync(join(tmpdir(), 'multireactor-bench-'))

  make(name: WorkloadName, dataFile?: string): Workload {
    return { ...planOf(name), name, flags: this.#flags(name, dataFile) }
  }

  /** A place for a file, gone with the others. */
  pathFor(name: string): string {
    return join(this.#directory, name)
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true })
  }

  #flags(name: WorkloadName, dataFile: string | undefined): string[] {
    switch (name) {
      case 'echo':
      case 'pingpong':
        return ['--mode', 'echo', '--payload', '64']
      case 'bytes':
      case 'lines':
      case 'pingpong-lines':
        return ['--mode', 'lines', '--payload', '64']
      case 'churn':
        return ['--mode', 'churn', '--payload', '64']
      case 'json128':
        return this.#json(name, orders(1_000, 128))
      case 'json2k':
        return this.#json(name, largeOrders(200, 2_048))
      case 'json20k':
        return this.#json(name, largeOrders(40, 20_480))
      case 'json4k':
        return this.#json(name, documents(200))
      case 'data':
        return this.#json(name, linesOf(dataFile))
      case 'isolation':
        return [
          ...this.#json('light', orders(1_000, 64)),
          ...['--beside-connections', String(heavyConnections), '--beside-in-flight', '1'],
          ...this.#files('heavy', largeOrders(20, 204_800), 'beside-'),
        ]
      case 'idle':
      case 'start':
        return []
    }
  }

  #json(name: string, requests: string[]): string[] {
    return ['--mode', 'json', ...this.#files(name, requests, '')]
  }

  #files(name: string, requests: string[], prefix: string): string[] {
    const data = join(this.#directory, `${name}.requests`)
    const expect = join(this.#directory, `${name}.replies`)
    writeFileSync(data, requests.join(''))
    // Computed here and now, from the document alone: no server takes part in computing the expected replies.
    writeFileSync(expect, requests.map(answer).join(''))
    return [`--${prefix}data`, data, `--${prefix}expect`, expect]
  }
}

function linesOf(file: string | undefined): string[] {
  if (file === undefined) throw new Error('the work "data" needs --data FILE')
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')
  return lines.map((line) => `${line}\n`)
}
