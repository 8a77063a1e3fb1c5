import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Candidate, candidates, chosenByName } from './candidates.js'
import { buildNative, loadgen } from './native.js'
import { ServerProcess } from './server-process.js'
import { median } from './statistics.js'
import type { Work } from './work.js'

// What an idle connection costs in user memory: the slope between two counts, so that what a server needs anyway cancels out.
// The kernel's own memory for a socket is not in it. The connections live in other processes, whose limit on fds is their own.
const few = 2_000
const many = 15_000
const settleMs = 250
const settledKib = 64
const patience = 80

const works: Work[] = ['json', 'echo'] // JSON where the server can: its app has only `parse` when it has a pool.

class IdleConnections {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async open(port: number, count: number): Promise<IdleConnections> {
    const child = spawn(loadgen, ['--port', String(port), '--idle', String(count)], { stdio: ['pipe', 'pipe', 'inherit'] })
    const opened = once(child.stdout!, 'data')
    const failed = once(child, 'exit').then(([code]) => Promise.reject(new Error(`the idle connections ended with code ${code}`)))
    await Promise.race([opened, failed])
    failed.catch(() => {}) // Later it ends because it was told to.
    return new IdleConnections(child)
  }

  close(): void {
    this.#child.stdin!.end()
  }
}

function residentKib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

/** Resident memory once every connection is accepted, garbage is collected and the figure stands still. */
async function settledKibOf(server: ServerProcess, openFds: number): Promise<number> {
  let last = Number.NaN
  for (let attempt = 0; attempt < patience; attempt++) {
    server.collectGarbage()
    await delay(settleMs)
    const now = residentKib(server.pid)
    if (fdCount(server.pid) >= openFds && Math.abs(now - last) <= settledKib) return now
    last = now
  }
  throw new Error(`${server.name} did not come to rest with ${openFds} open fds`)
}

function fdCount(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

async function bytesPerConnection(candidate: Candidate): Promise<number> {
  const work = works.find((one) => candidate.works.includes(one))!
  const server = await ServerProcess.start(candidate, work, false)
  const held: IdleConnections[] = []
  try {
    const ownFds = fdCount(server.pid)
    held.push(await IdleConnections.open(server.port, few))
    const before = await settledKibOf(server, ownFds + few)
    held.push(await IdleConnections.open(server.port, many - few))
    const after = await settledKibOf(server, ownFds + many)
    return ((after - before) * 1024) / (many - few)
  } finally {
    for (const connections of held) connections.close()
    await server.stop()
  }
}

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '3' }, only: { type: 'string', default: '' } } })
const parts = values.only.split(',').filter((part) => part !== '')
// `cluster` is left out: its connections are in its children, and there its server is the one called `net`.
const measured = chosenByName(parts) ?? candidates.filter(({ name, extra }) => !extra && !name.startsWith('cluster'))

buildNative()
process.stdout.write(`Bytes of resident memory per idle connection, ${few} to ${many} connections\n\n`)
process.stdout.write('| server | median | all rounds |\n| --- | ---: | --- |\n')
for (const candidate of measured) {
  try {
    const rounds: number[] = []
    for (let round = 0; round < Number(values.rounds); round++) rounds.push(Math.round(await bytesPerConnection(candidate)))
    process.stdout.write(`| ${candidate.name} | ${median(rounds)} | ${rounds.join(', ')} |\n`)
  } catch (error) {
    process.exitCode = 1
    process.stdout.write(`| ${candidate.name} | failed: ${(error as Error).message.replaceAll(/\s+/g, ' ')} | |\n`)
  }
}
