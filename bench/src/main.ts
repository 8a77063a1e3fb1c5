import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { available, candidates } from './candidates.js'
import { chart } from './chart.js'
import { conditions } from './conditions.js'
import { fillDocument } from './document.js'
import { figureTable } from './figures.js'
import { type Kept, together } from './kept.js'
import { lossesTable } from './losses.js'
import { markdown } from './markdown.js'
import { buildNative } from './native.js'
import { HelpAsked, type Options, parseOptions, usage } from './options.js'
import { askedCandidates, passesOf } from './plan.js'
import { measureRound, type Sample } from './rounds.js'
import { type Case, summarize } from './summary.js'
import { Workloads } from './workload.js'

const resultsDirectory = fileURLToPath(new URL('../results/', import.meta.url))

function optionsOrExit(args: string[]): Options {
  try {
    const options = parseOptions(args)
    if (askedCandidates(options).length === 0) throw new Error(`--only ${options.only.join()} names no server`)
    return options
  } catch (error) {
    if (error instanceof HelpAsked) {
      process.stdout.write(`${usage}\n`)
      process.exit(0)
    }
    process.stderr.write(`bench: ${(error as Error).message}\n\n${usage}\n`)
    process.exit(2)
  }
}

async function measured(options: Options, command: string): Promise<Kept> {
  buildNative()
  const { present, absent } = available(askedCandidates(options))
  for (const [server, reason] of absent) process.stderr.write(`left out: ${server}: ${reason}\n`)
  const workloads = new Workloads()
  const samples: Sample[] = []
  try {
    const chosen = options.works.map((name) => workloads.make(name, options.data))
    const passes = passesOf(options, chosen, present)
    const begun = performance.now()
    for (let round = 0; round < options.rounds; round++) {
      for (const pass of passes) {
        const { name, kind } = pass.workload
        // An idle connection is no matter of noise: five rounds of minutes are enough.
        if (kind === 'idle' && round >= idleRounds) continue
        const minutes = ((performance.now() - begun) / 60_000).toFixed(1)
        const placement = kind === 'load' ? (pass.cores ? ', pinned' : ', not pinned') : ''
        process.stderr.write(`${minutes} min: round ${round + 1} of ${options.rounds}: ${name}${placement}\n`)
        await measureRound(pass, round, (sample) => samples.push(sample))
      }
    }
  } finally {
    workloads.remove()
  }
  return { command, conditions: conditions(options), absent: [...absent], samples }
}

const idleRounds = 5

function write(options: Options, kept: Kept, cases: Case[], report: string, tables: string, figures: string): void {
  const drawing = chart(cases)
  if (options.from === undefined) {
    mkdirSync(resultsDirectory, { recursive: true })
    const stem = `${resultsDirectory}${options.name}`
    writeFileSync(`${stem}.md`, report)
    writeFileSync(`${stem}.json`, `${JSON.stringify({ ...kept, cases })}\n`)
    writeFileSync(`${stem}.svg`, drawing)
    process.stderr.write(`written: ${stem}.md, .json and .svg\n`)
  }
  if (options.write === undefined) return
  // npm runs the bench in its own folder, and a path is meant from where the command was given.
  const document = resolve(process.env.INIT_CWD ?? '.', options.write)
  fillDocument(document, { conditions: `${commandsOf(kept)}\n\n${kept.conditions}`, figures, losses: lossesTable(cases), tables })
  writeFileSync(document.replace(/\.md$/, '.svg'), drawing)
  process.stderr.write(`written: ${document} and its chart\n`)
}

function commandsOf({ command }: Kept): string {
  return command
    .split('\n')
    .map((one) => `\`${one}\``)
    .join('  \n')
}

const args = process.argv.slice(2)
const options = optionsOrExit(args)
const kept: Kept =
  options.from === undefined
    ? await measured(options, ['npm run bench', ...(args.length > 0 ? ['--', ...args] : [])].join(' '))
    : together(options.from.map((file) => JSON.parse(readFileSync(resolve(process.env.INIT_CWD ?? '.', file), 'utf8')) as Kept))
const cases = summarize(
  kept.samples,
  candidates.map(({ name }) => name),
  options.against,
)
const tables = markdown(cases)
const figures = figureTable(kept.samples, new Map(kept.absent))
const showsFigures = options.figures || options.full || options.from !== undefined
const report = [
  kept.conditions,
  ...(showsFigures ? [`## Figures\n\n${figures}`] : []),
  ...(options.figures ? [] : [tables]),
].join('\n\n')
process.stdout.write(`${report}\n`)
write(options, kept, cases, report, tables, figures)
// A wrong reply, or a server that did not start, must not pass for a result.
if (kept.samples.some(({ failure }) => failure !== undefined)) process.exitCode = 1
