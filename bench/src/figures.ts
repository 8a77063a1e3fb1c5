import { oneLine, tableOf } from './markdown.js'
import type { LoadShape } from './load.js'
import type { Metric } from './metric.js'
import type { Sample } from './rounds.js'
import { type Spread, spreadOf } from './statistics.js'
import { byRound, pairedRatios } from './summary.js'
import { planOf, type WorkloadName } from './workload.js'

/** Fewer rounds than this say little: the table marks them. */
const enoughRounds = 15
/** An interval that reaches a target from further away than this, as a share of the median, says nothing about it. */
const widest = 0.15

type Unit = 'times' | 'ms' | 'bytes'

/** One figure that the project has set itself. */
export interface Figure {
  what: string
  workload: WorkloadName
  shape: LoadShape
  metric: Metric
  server: string
  /** The other side of the ratio: another server, and another work or depth where the figure says so. */
  against?: { server: string; shape?: LoadShape }
  target: { atMost: number } | { atLeast: number } | 'stated'
  unit: Unit
}

export type Verdict = 'yes' | 'by the interval' | 'open: too wide' | 'no' | 'stated' | 'not measured'

const deep = (connections: number): LoadShape => ({ connections, inFlight: 16 })
const one = (connections: number): LoadShape => ({ connections, inFlight: 1 })
const own = (workload: WorkloadName): LoadShape => planOf(workload).shapes[0]!

function ratio(
  what: string,
  workload: WorkloadName,
  shape: LoadShape,
  server: string,
  against: string,
  target: Figure['target'],
  metric: Metric = planOf(workload).metrics[0],
): Figure {
  return { what, workload, shape, metric, server, against: { server: against }, target, unit: 'times' }
}

function absolute(what: string, workload: WorkloadName, server: string, metric: Metric, atMost: number, unit: Unit): Figure {
  return { what, workload, shape: own(workload), metric, server, target: { atMost }, unit }
}

const inline = 'multireactor 1+0'
const pool = 'multireactor 1+1'
const pool2 = 'multireactor 1+2'
const auto = 'multireactor auto 1+1'
const auto2 = 'multireactor auto 1+2'

export const figures: readonly Figure[] = [
  ratio('64 B echo inline, 64 connections, 1 in flight: CPU', 'echo', one(64), inline, 'C epoll', { atMost: 1.08 }),
  ratio('the same, 16 in flight', 'echo', deep(64), inline, 'C epoll', { atMost: 1.08 }),
  ratio('framed 64 B lines, JS handler of bytes, 1 in flight: CPU', 'bytes', one(64), inline, 'C epoll', { atMost: 1.1 }),
  ratio('the same, 16 in flight', 'bytes', deep(64), inline, 'C epoll', { atMost: 1.15 }),
  ratio('framed 64 B lines, JS handler of text, 1 in flight: CPU', 'lines', one(64), inline, 'C epoll', { atMost: 1.1 }),
  ratio('the same, 16 in flight', 'lines', deep(64), inline, 'C epoll', { atMost: 1.15 }),
  ratio('128 B JSON through the pool, 50 connections, 1 in flight: CPU', 'json128', one(50), pool, 'C epoll', { atMost: 1.55 }),
  ratio('the same, 16 in flight', 'json128', deep(50), pool, 'net', { atMost: 1 }),
  ratio('2 KB JSON inline, 50 connections, 1 in flight: CPU', 'json2k', one(50), inline, 'net', { atMost: 0.78 }),
  ratio('the same, auto', 'json2k', one(50), auto, 'net', { atMost: 0.78 }),
  ratio('the same, pool', 'json2k', one(50), pool, 'net', { atMost: 0.85 }),
  ratio('20 KB JSON, 2 workers: requests/s', 'json20k', one(50), pool2, 'net', { atLeast: 1.95 }),
  absolute('isolation: p99 of small requests, auto', 'isolation', auto2, 'p99', 0.8, 'ms'),
  absolute('isolation: p99 of small requests, pool of 2', 'isolation', pool2, 'p99', 2, 'ms'),
  ratio('isolation: heavy requests/s, auto', 'isolation', own('isolation'), auto2, 'cluster x2', { atLeast: 1 }, 'heavy'),
  ratio('isolation: heavy requests/s, pool of 2', 'isolation', own('isolation'), pool2, 'cluster x2', { atLeast: 1 }, 'heavy'),
  ratio('ping-pong on one connection, inline: p50', 'pingpong', own('pingpong'), inline, 'C epoll', { atMost: 1.03 }),
  ratio('ping-pong of lines on one connection, pool: p50', 'pingpong-lines', own('pingpong-lines'), pool, inline, {
    atMost: 1.6,
  }),
  ratio('connect, one echo, close: CPU', 'churn', own('churn'), inline, 'net', { atMost: 0.75 }),
  absolute('idle connection, `parse` only', 'idle', pool, 'bytes', 150, 'bytes'),
  absolute('idle connection, with object and context', 'idle', inline, 'bytes', 450, 'bytes'),
  ratio('2 reactors against 1, echo, 16 in flight: CPU', 'echo', deep(64), 'multireactor 2+0', inline, { atMost: 1.1 }),
  ratio('2 threads of C against 1, the same', 'echo', deep(64), 'C epoll x2', 'C epoll', 'stated'),
  ratio('2+2 against 1+1, 128 B JSON, 16 in flight: CPU', 'json128', deep(50), 'multireactor 2+2', pool, 'stated'),
  absolute('start of `serve` with 2+2, a built app', 'start', 'multireactor 2+2', 'serveMs', 250, 'ms'),
]

/** Which servers a work needs for the figures, and in which shapes. */
export function neededFor(workload: WorkloadName): { servers: string[]; shapes: LoadShape[] } {
  const about = figures.filter((figure) => figure.workload === workload)
  const servers = new Set(about.flatMap(({ server, against }) => [server, ...(against === undefined ? [] : [against.server])]))
  const shapes = new Map(about.map(({ shape }) => [`${shape.connections} ${shape.inFlight}`, shape]))
  return { servers: [...servers], shapes: [...shapes.values()] }
}

export function worksOfFigures(): WorkloadName[] {
  return [...new Set(figures.map(({ workload }) => workload))]
}

/** The measured figure with its interval: of the paired ratios, or of the values themselves. */
export function measured(figure: Figure, samples: readonly Sample[], pinned: boolean): Spread | undefined {
  const of = (server: string, shape: LoadShape): Sample[] =>
    samples.filter(
      (sample) =>
        sample.work === figure.workload &&
        sample.server === server &&
        sample.pinned === pinned &&
        sample.connections === shape.connections &&
        sample.inFlight === shape.inFlight,
    )
  const mine = of(figure.server, figure.shape)
  if (figure.against !== undefined) {
    return spreadOf(pairedRatios(mine, figure.metric, of(figure.against.server, figure.shape), figure.metric))
  }
  // Latencies are kept in µs.
  const scale = figure.unit === 'ms' && figure.metric === 'p99' ? 1_000 : 1
  return spreadOf([...byRound(mine, figure.metric).values()].map((value) => value / scale))
}

/** A figure is reached when its 95 % interval reaches the target: noise on shared cores is wider than many a difference. */
export function verdict({ target }: Figure, spread: Spread | undefined): Verdict {
  if (spread === undefined) return 'not measured'
  if (target === 'stated') return 'stated'
  const { median, low, high } = spread
  const atMost = 'atMost' in target
  if (atMost ? median <= target.atMost : median >= target.atLeast) return 'yes'
  if (atMost ? low > target.atMost : high < target.atLeast) return 'no'
  return (atMost ? median - low : high - median) <= widest * median ? 'by the interval' : 'open: too wide'
}

/** All figures in one table. Each is judged in the placement that its work is about; the other one stands beside it. */
export function figureTable(samples: readonly Sample[], absent: ReadonlyMap<string, string> = new Map()): string {
  const head = ['figure', 'server', 'against', 'target', 'measured', '95 %', 'rounds', 'reached', 'the other placement']
  const rows = figures.map((figure) => {
    const { pinned, kind } = planOf(figure.workload)
    const spread = measured(figure, samples, pinned)
    const other = kind === 'load' ? measured(figure, samples, !pinned) : undefined
    const missing = [figure.server, figure.against?.server ?? ''].find((server) => absent.has(server))
    return [
      `${figure.what}${kind === 'load' ? (pinned ? ' (pinned)' : ' (not pinned)') : ''}`,
      figure.server,
      figure.against?.server ?? '',
      targetText(figure),
      spread === undefined ? '-' : shown(figure.unit, spread.median),
      spread === undefined ? '-' : interval(figure.unit, spread),
      spread === undefined ? '-' : `${spread.count}${spread.count < enoughRounds && figure.workload !== 'idle' ? ' (few)' : ''}`,
      spread === undefined && missing !== undefined ? `not measured: ${missing} is absent` : bold(verdict(figure, spread)),
      other === undefined
        ? ''
        : `${shown(figure.unit, other.median)} (${interval(figure.unit, other)}): ${verdict(figure, other)}`,
    ]
  })
  const reasons = [...absent].map(([server, reason]) => `- ${server} is absent: ${oneLine(reason)}\n`)
  return tableOf([head, ...rows], 3) + (reasons.length > 0 ? `\n${reasons.join('')}` : '')
}

function bold(text: Verdict): string {
  return text === 'no' ? '**no**' : text
}

function targetText({ target, unit }: Figure): string {
  if (target === 'stated') return 'stated'
  return 'atMost' in target ? `≤ ${shown(unit, target.atMost)}` : `≥ ${shown(unit, target.atLeast)}`
}

function interval(unit: Unit, { low, high }: Spread): string {
  return `${shown(unit, low)}-${shown(unit, high)}`
}

function shown(unit: Unit, value: number): string {
  if (unit === 'times') return value.toFixed(2)
  return unit === 'ms' ? `${value < 10 ? value.toFixed(2) : Math.round(value)} ms` : `${Math.round(value)} B`
}
