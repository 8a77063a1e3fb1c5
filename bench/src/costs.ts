import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type Cost, partOf, perMessage, readCallgrind } from './callgrind.js'
import { type Candidate, candidates } from './candidates.js'
import { CallCounter, type CallCounts } from './counts.js'
import { fillDocument } from './document.js'
import { type LoadShape, stream } from './load.js'
import { tableOf } from './markdown.js'
import { buildNative, reactorLoop } from './native.js'
import { type Manner, ServerProcess } from './server-process.js'
import type { Crossings } from './servers/start.js'
import type { Work } from './work.js'

// The cost of a message, part by part: instructions by callgrind, of programs without Node; system calls, allocations and crossings
// between native code and JavaScript, counted, of all servers.

const connections = 64
const depths = [1, 16]
const warmupFrames = 20_000
const stopUnderValgrindMs = 60_000

const usage = `npm run costs -w bench -- [options]
  --frames N      counted messages of each server (64000)
  --simulated N   messages more in the longer of two runs under callgrind (20000)
  --write FILE    fill in the marked parts of this document`

const crossingsFlag = ['--import', new URL('./servers/count-crossings.js', import.meta.url).href]

/** The reactor of the addon, driven by a program without Node. */
function loop(name: string, works: readonly Work[], workers: number): Candidate {
  const command = (work: Work): string[] => [reactorLoop, '--work', work, '--workers', String(workers)]
  return { name, works, runtime: 'native', command }
}

function known(name: string): Candidate {
  return candidates.find((candidate) => candidate.name === name)!
}

const withoutNode = [
  known('C epoll'),
  loop('reactor without Node', ['echo', 'lines'], 0),
  loop('with a pool thread', ['lines'], 1),
]
const all = [...withoutNode, known('net'), known('multireactor 1+0'), known('multireactor 1+1')]
const works = { echo: ['--mode', 'echo'], lines: ['--mode', 'lines'] } satisfies Partial<Record<Work, string[]>>
type CountedWork = keyof typeof works

interface Counted {
  calls: CallCounts
  crossings: Crossings | undefined
}

async function countsOf(
  candidate: Candidate,
  work: CountedWork,
  shape: LoadShape,
  frames: number,
  path: string,
): Promise<Counted> {
  const counter = new CallCounter(path)
  const isNode = candidate.runtime === 'node'
  const how: Manner = { env: counter.env, ...(isNode ? { nodeArguments: crossingsFlag } : {}) }
  const server = await ServerProcess.start(candidate, work, undefined, how)
  const flags = [...works[work], '--payload', '64']
  try {
    await stream(server, { flags }, warmupFrames, shape)
    const crossingsBefore = isNode ? (await server.counts()).crossings : undefined
    const before = counter.read()
    await stream(server, { flags }, frames, shape)
    const after = counter.read()
    const crossingsAfter = isNode ? (await server.counts()).crossings : undefined
    return {
      calls: difference(after, before, frames),
      crossings: crossingsAfter && difference(crossingsAfter, crossingsBefore!, frames),
    }
  } finally {
    await server.stop()
  }
}

function difference<T extends object>(after: T, before: T, messages: number): T {
  const numbers = Object.entries(after) as [keyof T, number][]
  return Object.fromEntries(numbers.map(([name, value]) => [name, (value - (before[name] as number)) / messages])) as T
}

async function countTable(frames: number, directory: string): Promise<string> {
  const head = [
    'server',
    'epoll waits',
    'receives',
    'sends',
    'other reads and writes',
    'epoll_ctl',
    'allocations',
    'calls into JS',
    'calls out of JS',
  ]
  const tables: string[] = []
  for (const work of Object.keys(works) as CountedWork[]) {
    for (const inFlight of depths) {
      const rows = [head]
      for (const candidate of all.filter(({ works }) => works.includes(work))) {
        process.stderr.write(`counting: ${work}, ${inFlight} in flight: ${candidate.name}\n`)
        const { calls, crossings } = await countsOf(candidate, work, { connections, inFlight }, frames, join(directory, 'counts'))
        const isNode = candidate.runtime === 'node'
        // The sockets of `net` are read and written by read and write, as libuv does it for every descriptor.
        const bySockets = candidate.name === 'net'
        rows.push(
          [
            candidate.name,
            calls.epollWait,
            bySockets ? calls.read : calls.receive,
            bySockets ? calls.write : calls.send,
            bySockets ? calls.receive + calls.send : calls.read + calls.write,
            calls.epollCtl,
            calls.allocate,
            isNode ? crossings!.toJs : '-',
            isNode ? crossings!.toNative : '-',
          ].map((cell) => (typeof cell === 'number' ? cell.toFixed(3) : cell)),
        )
      }
      tables.push(`**${work}, ${connections} connections, ${inFlight} in flight:**\n\n${tableOf(rows)}`)
    }
  }
  return tables.join('\n')
}

function hasValgrind(): boolean {
  return spawnSync('valgrind', ['--version'], { stdio: 'ignore' }).status === 0
}

async function simulated(
  candidate: Candidate,
  work: CountedWork,
  shape: LoadShape,
  frames: number,
  directory: string,
): Promise<Cost[]> {
  const out = join(directory, `callgrind.${frames}`)
  const under = ['valgrind', '--tool=callgrind', '--quiet', `--callgrind-out-file=${out}.%p`]
  const server = await ServerProcess.start(candidate, work, undefined, { under, limitMs: stopUnderValgrindMs })
  try {
    await stream(server, { flags: [...works[work], '--payload', '64'] }, frames, shape)
  } finally {
    await server.stop(stopUnderValgrindMs)
  }
  const name = readdirSync(directory).find((file) => file.startsWith(`${basename(out)}.`))
  if (name === undefined) throw new Error('callgrind has written nothing')
  const text = readFileSync(join(directory, name), 'utf8')
  rmSync(join(directory, name))
  return readCallgrind(text)
}

async function instructionTables(frames: number, directory: string): Promise<string> {
  const sections: string[] = []
  for (const inFlight of depths) {
    const shape = { connections, inFlight }
    const measured = new Map<string, Cost[]>()
    for (const candidate of withoutNode) {
      process.stderr.write(`callgrind: lines, ${inFlight} in flight: ${candidate.name}\n`)
      const short = await simulated(candidate, 'lines', shape, frames, directory)
      const long = await simulated(candidate, 'lines', shape, 2 * frames, directory)
      measured.set(candidate.name, perMessage(short, long, frames))
    }
    sections.push(`**lines of 64 bytes, ${connections} connections, ${inFlight} in flight:**\n\n${partTable(measured)}`)
    for (const [name, costs] of measured)
      if (name !== 'C epoll') sections.push(`${name}, the dearest functions:\n\n${functionTable(costs)}`)
  }
  return sections.join('\n')
}

function partTable(measured: ReadonlyMap<string, Cost[]>): string {
  const sums = new Map([...measured].map(([name, costs]) => [name, byPart(costs)]))
  const parts = [...new Set([...sums.values()].flatMap((sum) => [...sum.keys()]))].sort()
  const total = [...sums.values()].map((sum) => [...sum.values()].reduce((a, b) => a + b, 0).toFixed(0))
  return tableOf([
    ['instructions per message', ...measured.keys()],
    ...parts.map((part) => [part, ...[...sums.values()].map((sum) => (sum.has(part) ? sum.get(part)!.toFixed(1) : '-'))]),
    ['**all, outside of the kernel**', ...total.map((text) => `**${text}**`)],
  ])
}

function byPart(costs: readonly Cost[]): Map<string, number> {
  const parts = new Map<string, number>()
  for (const cost of costs) parts.set(partOf(cost), (parts.get(partOf(cost)) ?? 0) + cost.instructions)
  return parts
}

function functionTable(costs: readonly Cost[]): string {
  const functions = new Map<string, number>()
  for (const cost of costs) functions.set(cost.function, (functions.get(cost.function) ?? 0) + cost.instructions)
  const dearest = [...functions].sort(([, a], [, b]) => b - a).slice(0, 12)
  return tableOf([
    ['function', 'instructions per message'],
    ...dearest.map(([name, cost]) => [`\`${shortName(name)}\``, cost.toFixed(1)]),
  ])
}

/** Without the arguments, whose types say nothing here. */
function shortName(name: string): string {
  return name
    .replaceAll('|', '\\|')
    .replaceAll('(anonymous namespace)::', '')
    .replace(/\(.*$/, '')
    .replace(/'\d+$/, '')
    .slice(0, 70)
}

interface CostOptions {
  frames: number
  simulated: number
  write: string | undefined
}

function optionsOrExit(): CostOptions {
  try {
    const text = { type: 'string' } as const
    const { values } = parseArgs({ options: { frames: text, simulated: text, write: text } })
    const count = (option: string, given: string): number => {
      const number = Number(given)
      if (!Number.isSafeInteger(number) || number < 1_000)
        throw new Error(`${option} must be a whole number from 1000 on, not "${given}"`)
      return number
    }
    return {
      frames: count('--frames', values.frames ?? '64000'),
      simulated: count('--simulated', values.simulated ?? '20000'),
      write: values.write,
    }
  } catch (error) {
    process.stderr.write(`costs: ${(error as Error).message}\n\n${usage}\n`)
    process.exit(2)
  }
}

const options = optionsOrExit()
buildNative('costs')
const directory = mkdtempSync(join(tmpdir(), 'multireactor-costs-'))
try {
  const counts = await countTable(options.frames, directory)
  const instructions = hasValgrind()
    ? await instructionTables(options.simulated, directory)
    : 'valgrind is not installed on this machine, so there are no counts of instructions: install it (Debian: `apt-get install valgrind`) and run the command again.\n'
  process.stdout.write(`## Calls\n\n${counts}\n## Instructions\n\n${instructions}`)
  if (options.write !== undefined) {
    fillDocument(resolve(process.env.INIT_CWD ?? '.', options.write), { calls: counts, instructions })
  }
} finally {
  rmSync(directory, { recursive: true })
}
