import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { candidates } from './candidates.js'
import { chart } from './chart.js'
import { markdown } from './markdown.js'
import { buildNative } from './native.js'
import { type Options, parseOptions, usage } from './options.js'
import { chosenCandidates, measureRound, type Sample } from './rounds.js'
import { type Case, summarize } from './summary.js'
import { Workloads } from './workload.js'

const resultsDirectory = fileURLToPath(new URL('../results/', import.meta.url))

function optionsOrExit(): Options {
  try {
    const options = parseOptions(process.argv.slice(2))
    if (chosenCandidates(options).length === 0) throw new Error(`--only ${options.only.join()} names no server`)
    return options
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message}\n\n${usage}\n`)
    process.exit(2)
  }
}

function conditions(options: Options): string {
  const pinning = options.pin ? 'server pinned to core 0, load to core 1' : 'not pinned'
  return `Node ${process.versions.node}, ${cpus().length} cores, ${pinning}; ${options.rounds} rounds of ${options.seconds} s.`
}

async function run(options: Options, titles: Map<string, string>): Promise<Sample[]> {
  const workloads = new Workloads()
  const samples: Sample[] = []
  try {
    const chosen = options.works.map((name) => workloads.make(name, options.data))
    for (const { name, title } of chosen) titles.set(name, title)
    for (let round = 0; round < options.rounds; round++) {
      for (const workload of chosen) {
        process.stderr.write(`round ${round + 1} of ${options.rounds}: ${workload.name}\n`)
        await measureRound(options, workload, round, (sample) => samples.push(sample))
      }
    }
  } finally {
    workloads.remove()
  }
  return samples
}

function writeResults(options: Options, report: string, cases: Case[], samples: Sample[], titles: Map<string, string>): void {
  mkdirSync(resultsDirectory, { recursive: true })
  const stem = `${resultsDirectory}${options.name}`
  writeFileSync(`${stem}.md`, report)
  writeFileSync(`${stem}.json`, `${JSON.stringify({ conditions: conditions(options), options, cases, samples }, null, 2)}\n`)
  writeFileSync(`${stem}.svg`, chart(cases, titles))
  process.stderr.write(`written: ${stem}.md, .json and .svg\n`)
}

const options = optionsOrExit()
buildNative()
const titles = new Map<string, string>()
const samples = await run(options, titles)
const cases = summarize(
  samples,
  candidates.map(({ name }) => name),
  options.against,
)
const report = `${conditions(options)}\n\n${markdown(cases, titles, options.against)}`
process.stdout.write(report)
writeResults(options, report, cases, samples, titles)
// A wrong reply, or a server that did not start, must not pass for a result.
if (samples.some(({ failure }) => failure !== undefined)) process.exitCode = 1
