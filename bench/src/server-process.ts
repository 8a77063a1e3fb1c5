import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface, type Interface } from 'node:readline'
import type { Candidate } from './candidates.js'
import { onCores } from './cores.js'
import type { Announcement, ServerCounts } from './servers/start.js'
import type { Work } from './work.js'

const startLimitMs = 60_000
const countsLimitMs = 30_000
const stopLimitMs = 2_000
const shownErrorBytes = 600

/** How a server is run, where it is not run as it is. */
export interface Manner {
  nodeArguments?: readonly string[]
  env?: Record<string, string>
  /** A program that runs it. */
  under?: readonly string[]
  limitMs?: number
}

/** How long it took to listen: from the start of the process, and from the call that starts the server. */
export interface Started {
  processMs: number
  serveMs: number | undefined
}

/** A server in a process of its own. */
export class ServerProcess {
  readonly name: string
  /** Ports, and paths of Unix sockets. */
  readonly addresses: readonly (number | string)[]
  readonly started: Started
  readonly #child: ChildProcess
  readonly #lines: Interface
  #stderr = ''

  private constructor(name: string, addresses: (number | string)[], child: ChildProcess, lines: Interface, started: Started) {
    this.name = name
    this.addresses = addresses
    this.started = started
    this.#child = child
    this.#lines = lines
    child.stderr!.on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-shownErrorBytes)
    })
  }

  /** Resolves when the server listens; rejects with its output when it ends or stays silent instead. */
  static async start(candidate: Candidate, work: Work, cores: string | undefined, how: Manner = {}): Promise<ServerProcess> {
    const [program, args] = onCores(cores, [...(how.under ?? []), ...candidate.command(work, how.nodeArguments)])
    const began = performance.now()
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...how.env } })
    const lines = createInterface(child.stdout!)
    try {
      const { addresses, serveMs } = await announcementOf(child, lines, how.limitMs ?? startLimitMs)
      return new ServerProcess(candidate.name, addresses, child, lines, { processMs: performance.now() - began, serveMs })
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** The process and its descendants: the forks of `cluster` are part of its cost. */
  get pids(): number[] {
    const children = childrenByParent()
    const found = [this.pid]
    for (const pid of found) found.push(...(children.get(pid) ?? []))
    return found
  }

  /** The end of its stderr since it listens; part of the message when a measurement fails. */
  get said(): string {
    const text = this.#stderr.trim()
    return text === '' ? '' : `; the server said: ${text}`
  }

  /** The server's own counters. Where memory is measured, it also collects its garbage. */
  async counts(): Promise<ServerCounts> {
    const line = once(this.#lines, 'line', { signal: AbortSignal.timeout(countsLimitMs) })
    this.#child.kill('SIGUSR2')
    const [text] = await line
    return JSON.parse(text)
  }

  async stop(limitMs = stopLimitMs): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    const impatient = setTimeout(() => this.#child.kill('SIGKILL'), limitMs)
    this.#child.kill('SIGTERM')
    await exited
    clearTimeout(impatient)
  }
}

function announcementOf(child: ChildProcess, lines: Interface, limitMs: number): Promise<Announcement> {
  return new Promise((resolve, reject) => {
    let errors = ''
    const fail = (reason: string): void => reject(new Error(`${reason}${errors === '' ? '' : `: ${lastPart(errors)}`}`))
    const limit = setTimeout(() => fail(`did not listen within ${limitMs} ms`), limitMs)
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    lines.once('line', (text) => {
      clearTimeout(limit)
      resolve(JSON.parse(text) as Announcement)
    })
    child.once('error', (error) => fail(error.message))
    child.once('close', (code, signal) => {
      clearTimeout(limit)
      fail(`ended before it listened (${signal ?? code})`)
    })
  })
}

function lastPart(text: string): string {
  return text.trim().slice(-shownErrorBytes)
}

function childrenByParent(): Map<number, number[]> {
  const children = new Map<number, number[]>()
  for (const entry of readdirSync('/proc')) {
    const parent = parentOf(entry)
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(entry)])
  }
  return children
}

function parentOf(entry: string): number | undefined {
  if (!/^\d+$/.test(entry)) return undefined
  try {
    const stat = readFileSync(`/proc/${entry}/stat`, 'utf8')
    // The name in parentheses may hold spaces and parentheses of its own.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined // It ended while we looked.
  }
}
