import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Candidate, chosenByName } from './candidates.js'
import { IdleConnections } from './idle-connections.js'
import { buildNative } from './native.js'
import { ServerProcess } from './server-process.js'
import { median } from './statistics.js'

// What an idle connection costs in user memory: the slope between two counts, so that what a server needs anyway cancels out.
// The kernel's own memory for a socket is not in it. The connections live in other processes, whose limit on fds is their own.
//
// The slope is a few MiB, and the heaps of freshly started threads give back more than that on their own within seconds. So every
// thread collects its garbage, again and again, for some time before each of the two measurements. No connection is opened and closed
// before: the allocator would keep that memory, and the measured connections would cost nothing.
const few = 2_000
const many = 15_000
const sampleMs = 250
const restSamples = 32 // V8 returns memory as late as some seconds after it is free.
const windowSamples = 8
const stillKib = 64 // Between the medians of two windows: single samples of a heap vary more.
const patience = 160

interface Measured {
  bytes: number
  growthKib: number
  open: [few: number, many: number]
}

/** Anonymous pages only: code that is run for the first time is no cost of a connection. */
function anonymousKib(pid: number): number {
  return Number(/^Anonymous:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])
}

/** Memory at rest, with as many connections open as the server itself must count. */
async function atRest(server: ServerProcess, expected: number): Promise<{ kib: number; open: number }> {
  const samples: number[] = []
  for (let attempt = 0; attempt < patience; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, sampleMs))
    const { open } = await server.counts()
    samples.push(anonymousKib(server.pid))
    const now = median(samples.slice(-windowSamples))
    const before = median(samples.slice(-2 * windowSamples, -windowSamples))
    const still = samples.length >= restSamples && Math.abs(now - before) <= stillKib
    if (open === expected && still) return { kib: now, open }
  }
  const { open } = await server.counts()
  throw new Error(`${server.name} did not come to rest: it counts ${open} open connections of ${expected}`)
}

async function slope(candidate: Candidate): Promise<Measured> {
  const server = await ServerProcess.start(collecting(candidate), 'json', false)
  const held: IdleConnections[] = []
  try {
    held.push(await IdleConnections.open(server, few))
    const before = await atRest(server, few)
    held.push(await IdleConnections.open(server, many - few))
    const after = await atRest(server, many)
    const growthKib = after.kib - before.kib
    return { bytes: (growthKib * 1024) / (many - few), growthKib, open: [before.open, after.open] }
  } finally {
    for (const connections of held) connections.close()
    await server.stop()
  }
}

/** The same server, with every thread of it ready to collect its garbage. */
function collecting(candidate: Candidate): Candidate {
  const preload = ['--expose-gc', '--import', new URL('./servers/collect-garbage.js', import.meta.url).href]
  return {
    ...candidate,
    command: (work) => {
      const [node, ...rest] = candidate.command(work)
      return [node!, ...preload, ...rest]
    },
  }
}

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '3' }, only: { type: 'string', default: '' } } })
const parts = values.only.split(',').filter((part) => part !== '')
const asked = parts.length > 0 ? parts : ['net', 'multireactor 1+0', 'multireactor 1+1']
// `cluster` is left out: its connections are in its children.
const measured = chosenByName(asked)!.filter(({ name, works }) => works.includes('json') && !name.startsWith('cluster'))

buildNative()
process.stdout.write(`Resident memory (anonymous pages) from ${few} to ${many} idle connections\n\n`)
process.stdout.write('| server | bytes per connection, median | all rounds | growth, KiB | open as the server counts |\n')
process.stdout.write('| --- | ---: | --- | --- | --- |\n')
for (const candidate of measured) {
  try {
    const rounds: Measured[] = []
    for (let round = 0; round < Number(values.rounds); round++) rounds.push(await slope(candidate))
    const bytes = rounds.map((one) => Math.round(one.bytes))
    const growth = rounds.map(({ growthKib }) => growthKib).join(', ')
    const open = [...new Set(rounds.map((one) => one.open.join(' and ')))].join(', ')
    process.stdout.write(`| ${candidate.name} | ${Math.round(median(bytes))} | ${bytes.join(', ')} | ${growth} | ${open} |\n`)
  } catch (error) {
    process.exitCode = 1
    process.stdout.write(`| ${candidate.name} | failed: ${(error as Error).message.replaceAll(/\s+/g, ' ')} | | | |\n`)
  }
}
