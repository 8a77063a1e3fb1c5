import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { median } from './statistics.js'

// How long a server with 2 reactors and 2 workers takes until it listens, with an app that is JavaScript already. Interleaved, so
// that a busy moment meets all of them; a bare Node shows how busy the machine is.

interface Measured {
  wallMs: number
  /** Of the process and its threads so far, user and system, to 10 ms. */
  cpuMs: number
}

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url))
const command = path('../../packages/multireactor/bin/multireactor.js')
const sizes = ['--reactors', '2', '--pool', '2']

/** Until the first line of a program, whose own figure it may be. */
async function firstLine(args: readonly string[], ownFigure: boolean): Promise<Measured> {
  const begun = performance.now()
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  const line = await Promise.race([once(child.stdout, 'data'), ended.then(() => undefined)])
  const wallMs = performance.now() - begun
  if (!line) throw new Error(`node ${args.join(' ')} ended before it said anything`)
  const cpuMs = cpuOf(child)
  child.kill('SIGTERM')
  await ended
  return { wallMs: ownFigure ? Number(String(line[0])) : wallMs, cpuMs }
}

function cpuOf({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

const ways: [name: string, run: () => Promise<Measured>][] = [
  [
    '`node` alone, from its start to its first line',
    () => firstLine(['-e', 'console.log(0); setTimeout(() => {}, 60_000)'], false),
  ],
  [
    '`multireactor serve`, from its start until it listens',
    () => firstLine([command, 'serve', path('apps/json.js'), '--host', '127.0.0.1', '--port', '0', ...sizes], false),
  ],
  ['four bare threads, until all of them run', () => firstLine([path('servers/bare-threads.js')], true)],
  ['`serve()`, from its call until it resolves', () => firstLine([path('servers/time-to-listen.js')], true)],
]

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } })
const measured = new Map<string, Measured[]>(ways.map(([name]) => [name, []]))
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, run] of ways) measured.get(name)!.push(await run())
}
process.stdout.write(`Node ${process.versions.node}, ${cpus().length} cores; 2 reactors, 2 workers; ${values.rounds} rounds.\n\n`)
process.stdout.write(
  '| what | ms, median | least | most | CPU ms of the process, median |\n| --- | ---: | ---: | ---: | ---: |\n',
)
for (const [name, all] of measured) {
  const wall = all.map(({ wallMs }) => wallMs)
  const cells = [median(wall), Math.min(...wall), Math.max(...wall), median(all.map(({ cpuMs }) => cpuMs))]
  process.stdout.write(`| ${name} | ${cells.map((cell) => cell.toFixed(0)).join(' | ')} |\n`)
}
