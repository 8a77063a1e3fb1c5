import { parseArgs } from 'node:util'
import { candidates } from './candidates.js'
import { type WorkloadName, workloadNames } from './workload.js'

export interface Options {
  rounds: number
  seconds: number
  warmup: number
  only: string[]
  works: WorkloadName[]
  connections: number[]
  inFlight: number[]
  data: string | undefined
  pin: boolean
  full: boolean
  against: string
  name: string
}

export const usage = `npm run bench -- [options]
  --rounds N          interleaved rounds (5; --full: 15)
  --seconds S         measured window (0.4; --full: 2)
  --warmup S          before each window (0.15; --full: 0.5)
  --only a,b          these servers, by name or by a part that no name equals
  --against NAME      the server that ratios refer to (net)
  --work a,b          of echo, lines, json128, json4k (echo, json128, json4k; --full: all)
  --connections a,b   (50; --full: 1,50,500)
  --in-flight a,b     requests outstanding on each connection (1,16)
  --data FILE         measure JSON documents of this file, one a line, instead
  --no-pin            do not pin the server to core 0 and the load to core 1
  --full              the long run, with more servers
  --name NAME         results go to bench/results/NAME.{md,json,svg} (latest)`

/** Throws with what is wrong about the command line. */
export function parseOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      warmup: { type: 'string' },
      only: { type: 'string' },
      work: { type: 'string' },
      connections: { type: 'string' },
      'in-flight': { type: 'string' },
      data: { type: 'string' },
      pin: { type: 'boolean' },
      'no-pin': { type: 'boolean' },
      full: { type: 'boolean' },
      against: { type: 'string' },
      name: { type: 'string' },
    },
  })
  const full = values.full ?? false
  const defaultWork = values.data !== undefined ? 'data' : full ? workloadNames.join() : 'echo,json128,json4k'
  return {
    rounds: positive('--rounds', values.rounds ?? (full ? '15' : '5')),
    seconds: positive('--seconds', values.seconds ?? (full ? '2' : '0.4')),
    warmup: positive('--warmup', values.warmup ?? (full ? '0.5' : '0.15')),
    only: list(values.only ?? ''),
    works: list(values.work ?? defaultWork).map(workloadName),
    connections: list(values.connections ?? (full ? '1,50,500' : '50')).map((text) => positive('--connections', text)),
    inFlight: list(values['in-flight'] ?? '1,16').map((text) => positive('--in-flight', text)),
    data: values.data,
    pin: !values['no-pin'],
    full,
    against: candidateName(values.against ?? 'net'),
    name: values.name ?? 'latest',
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

function candidateName(text: string): string {
  if (candidates.some(({ name }) => name === text)) return text
  throw new Error(`--against knows ${candidates.map(({ name }) => name).join(', ')}, not "${text}"`)
}

function workloadName(text: string): WorkloadName {
  const known: readonly WorkloadName[] = [...workloadNames, 'data']
  const found = known.find((name) => name === text)
  if (found === undefined) throw new Error(`--work knows ${known.join(', ')}, not "${text}"`)
  return found
}
