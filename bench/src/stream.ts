import { cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { candidateOf, type Design, designs, poolWorkers } from './designs.js'
import { type LoadResult, stream } from './load.js'
import { buildNative } from './native.js'
import { ServerProcess } from './server-process.js'
import type { ServerCounts } from './servers/start.js'
import { type Workload, Workloads } from './workload.js'

// A fixed number of documents through each design, every reply compared with the result of a direct JSON.parse, in order.

const closedLimitMs = 5_000
const pollMs = 20

const usage = `npm run bench:stream -- [options]
  --data FILE         the documents, one a line (without it: documents that the bench makes)
  --frames N          how many are sent, over all connections (1000000)
  --connections N     (64)
  --in-flight N       requests outstanding on each connection (16)
  --design a,b        of v1, v2, v3 (all)`

interface StreamOptions {
  data: string | undefined
  frames: number
  connections: number
  inFlight: number
  chosen: readonly Design[]
}

function parseOptions(args: string[]): StreamOptions {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args,
    options: { data: text, frames: text, connections: text, 'in-flight': text, design: text },
  })
  const asked = values.design?.split(',') ?? designs.map(({ name }) => name)
  const unknown = asked.find((name) => !designs.some((design) => design.name === name))
  if (unknown !== undefined) throw new Error(`--design knows v1, v2 and v3, not "${unknown}"`)
  return {
    data: values.data,
    frames: count('--frames', values.frames ?? '1000000'),
    connections: count('--connections', values.connections ?? '64'),
    inFlight: count('--in-flight', values['in-flight'] ?? '16'),
    chosen: designs.filter(({ name }) => asked.includes(name)),
  }
}

function count(option: string, text: string): number {
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < 1) throw new Error(`${option} must be a whole number from 1 on, not "${text}"`)
  return number
}

function optionsOrExit(): StreamOptions {
  try {
    return parseOptions(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`bench:stream: ${(error as Error).message}\n\n${usage}\n`)
    process.exit(2)
  }
}

interface Streamed {
  result: LoadResult
  counts: ServerCounts
}

async function streamThrough(design: Design, workload: Workload, options: StreamOptions, path: string): Promise<Streamed> {
  const server = await ServerProcess.start(candidateOf(design, path), workload.work, undefined)
  try {
    const result = await stream(server, workload, options.frames, options)
    const counts = await countsWhenClosed(server)
    check(result, counts, options.frames)
    return { result, counts }
  } finally {
    await server.stop()
  }
}

/** A peer sees the end of its connection a moment before the server has counted it. */
async function countsWhenClosed(server: ServerProcess): Promise<ServerCounts> {
  const deadline = Date.now() + closedLimitMs
  for (;;) {
    const counts = await server.counts()
    if (counts.open === 0 || Date.now() > deadline) return counts
    await delay(pollMs)
  }
}

/** The load generator has compared the replies; that both sides counted the same frames shows that it compared all of them. */
function check({ verified }: LoadResult, { frames, open }: ServerCounts, asked: number): void {
  const read = frames.reduce((sum, one) => sum + one, 0)
  if (verified !== asked || read !== asked) throw new Error(`${asked} frames: the server read ${read}, ${verified} were verified`)
  if (open !== 0) throw new Error(`${open} connections are still open after the stream`)
}

function row(title: string, { result, counts }: Streamed): string {
  const { requests, seconds, throughput, serverCpuUs } = result
  const cpu = (serverCpuUs / requests).toFixed(1)
  const mismatches = '0' // The first one ends the stream, and there is no row of figures.
  const cells = [title, grouped(requests), seconds.toFixed(1), grouped(throughput), cpu, mismatches]
  return `| ${[...cells, counts.frames.map(grouped).join(' + '), grouped(counts.held)].join(' | ')} |\n`
}

function grouped(number: number): string {
  return Math.round(number).toLocaleString('en-US')
}

const options = optionsOrExit()
buildNative()
const workloads = new Workloads()
const failures: string[] = []
try {
  const workload = workloads.make(options.data === undefined ? 'json4k' : 'data', options.data)
  process.stdout.write(
    `Node ${process.versions.node}, ${cpus().length} cores, not pinned; ${options.connections} connections, ${options.inFlight} in flight ` +
      `on each; ${poolWorkers} pool workers; ${workload.title}\n\n` +
      '| design | frames | seconds | frames/s | server CPU µs/frame | mismatches | frames by reactor | replies held for their turn |\n' +
      '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n',
  )
  for (const design of options.chosen) {
    try {
      process.stdout.write(row(design.title, await streamThrough(design, workload, options, workloads.pathFor(design.name))))
    } catch (error) {
      failures.push(`${design.title}: ${(error as Error).message}`)
      process.stdout.write(`| ${design.title} | ${Array<string>(7).fill('failed').join(' | ')} |\n`)
    }
  }
} finally {
  workloads.remove()
}
// Each failure and its place: the connection, the reply, the byte, and the expected byte.
for (const failure of failures) process.stdout.write(`\n**failed:** ${failure}\n`)
if (failures.length > 0) process.exitCode = 1
