import { parseArgs } from 'node:util'
import { candidates } from './candidates.js'
import { worksOfFigures } from './figures.js'
import { type WorkloadName, workloadNames } from './workload.js'

/** `own`: each work as it is about; see `WorkloadPlan.pinned`. */
export type Pinning = 'own' | 'yes' | 'no' | 'both'

const pinnings: readonly Pinning[] = ['own', 'yes', 'no', 'both']

export interface Options {
  rounds: number
  seconds: number
  warmup: number
  only: string[]
  works: WorkloadName[]
  /** Undefined: as each work has it. */
  connections: number[] | undefined
  inFlight: number[] | undefined
  data: string | undefined
  pin: Pinning
  serverCores: string
  loadCores: string
  full: boolean
  figures: boolean
  /** Undefined: the reference of each work. */
  against: string | undefined
  from: readonly string[] | undefined
  write: string | undefined
  name: string
}

const shortWorks: readonly WorkloadName[] = [
  'echo',
  'bytes',
  'lines',
  'json128',
  'json2k',
  'churn',
  'pingpong',
  'isolation',
  'start',
]
const fullWorks = workloadNames.filter((name) => name !== 'data')

export class HelpAsked extends Error {}

export const usage = `npm run bench -- [options]
  --work a,b          of ${workloadNames.join(', ')}
                      (${shortWorks.join(', ')}; --full: all)
  --only a,b          these servers, by name or by a part that no name equals:
                      ${candidates.map(({ name }) => name).join(', ')}
  --against NAME      the server that ratios refer to (each work has its own: C epoll or net)
  --rounds N          interleaved rounds (5; --full, --figures: 15)
  --seconds S         measured window (0.3; --full, --figures: 0.8)
  --warmup S          before each window (0.1; --full, --figures: 0.2)
  --connections a,b   instead of what each work has (50 or 64)
  --in-flight a,b     requests outstanding on each connection, instead of what each work has (1 and 16)
  --data FILE         measure JSON documents of this file, one a line, instead
  --pin WHICH         own: as each work has it; yes; no; both (own; --full, --figures: both)
  --server-cores C    where pinned servers run, as taskset takes it (0)
  --load-cores C      where the load generator runs then (1)
  --full              the long run: all works and servers, pinned and not
  --figures           only what the table of figures needs
  --from FILE,...     measure nothing; print what earlier runs have kept in these files
  --write FILE        fill in the marked parts of this document, and put the chart beside it
  --name NAME         results go to bench/results/NAME.{md,json,svg} (latest; full; figures)`

/** Throws with the fault of the command line. */
export function parseOptions(args: string[]): Options {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  const { values } = parseArgs({
    args,
    options: {
      ...{ rounds: text, seconds: text, warmup: text, only: text, work: text, connections: text, 'in-flight': text, data: text },
      ...{ pin: text, 'server-cores': text, 'load-cores': text, full: flag, figures: flag, against: text },
      ...{ from: text, write: text, name: text, help: flag },
    },
  })
  if (values.help) throw new HelpAsked()
  const { full = false, figures = false } = values
  if (full && figures) throw new Error('--full measures what --figures needs, and prints its table too: give one of them')
  const long = full || figures
  const usualWorks = values.data !== undefined ? ['data'] : figures ? worksOfFigures() : full ? fullWorks : shortWorks
  return {
    rounds: whole('--rounds', values.rounds ?? (long ? '15' : '5')),
    seconds: positive('--seconds', values.seconds ?? (long ? '0.8' : '0.3')),
    warmup: positive('--warmup', values.warmup ?? (long ? '0.2' : '0.1')),
    only: list(values.only ?? ''),
    works: (values.work === undefined ? usualWorks : list(values.work)).map(workloadName),
    connections: values.connections === undefined ? undefined : wholes('--connections', values.connections),
    inFlight: values['in-flight'] === undefined ? undefined : wholes('--in-flight', values['in-flight']),
    data: values.data,
    pin: pinning(values.pin ?? (long ? 'both' : 'own')),
    serverCores: cores('--server-cores', values['server-cores'] ?? '0'),
    loadCores: cores('--load-cores', values['load-cores'] ?? '1'),
    full,
    figures,
    against: values.against === undefined ? undefined : candidateName(values.against),
    from: values.from === undefined ? undefined : list(values.from),
    write: values.write,
    name: values.name ?? (full ? 'full' : figures ? 'figures' : 'latest'),
  }
}

function list(text: string): string[] {
  return text.split(',').filter((item) => item !== '')
}

function positive(option: string, text: string): number {
  const number = Number(text)
  if (!(number > 0)) throw new Error(`${option} must be a number above 0, not "${text}"`)
  return number
}

function whole(option: string, text: string): number {
  const number = positive(option, text)
  if (!Number.isSafeInteger(number)) throw new Error(`${option} must be a whole number, not "${text}"`)
  return number
}

function wholes(option: string, text: string): number[] {
  return list(text).map((one) => whole(option, one))
}

function cores(option: string, text: string): string {
  if (/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(text)) return text
  throw new Error(`${option} takes cores as taskset does, "0" or "0-3,8", not "${text}"`)
}

function pinning(text: string): Pinning {
  const found = pinnings.find((one) => one === text)
  if (found === undefined) throw new Error(`--pin knows ${pinnings.join(', ')}, not "${text}"`)
  return found
}

function candidateName(text: string): string {
  if (candidates.some(({ name }) => name === text)) return text
  throw new Error(`--against knows ${candidates.map(({ name }) => name).join(', ')}, not "${text}"`)
}

function workloadName(text: string): WorkloadName {
  const found = workloadNames.find((name) => name === text)
  if (found === undefined) throw new Error(`--work knows ${workloadNames.join(', ')}, not "${text}"`)
  return found
}
