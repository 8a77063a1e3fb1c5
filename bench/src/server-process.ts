import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface, type Interface } from 'node:readline'
import type { Candidate } from './candidates.js'
import { onCore, serverCore } from './cores.js'
import type { ServerCounts } from './servers/start.js'
import type { Work } from './work.js'

const startLimitMs = 10_000
const countsLimitMs = 5_000
const stopLimitMs = 2_000
const shownErrorBytes = 600

/** A server in a process of its own. */
export class ServerProcess {
  readonly name: string
  /** Ports, and paths of Unix sockets. */
  readonly addresses: readonly (number | string)[]
  readonly #child: ChildProcess
  readonly #lines: Interface

  private constructor(name: string, addresses: (number | string)[], child: ChildProcess, lines: Interface) {
    this.name = name
    this.addresses = addresses
    this.#child = child
    this.#lines = lines
  }

  /** Resolves when the server listens; rejects with what it printed when it ends or stays silent instead. */
  static async start(candidate: Candidate, work: Work, pin: boolean): Promise<ServerProcess> {
    const [program, args] = onCore(serverCore, pin, candidate.command(work))
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const lines = createInterface(child.stdout!)
    try {
      return new ServerProcess(candidate.name, await addressesOf(child, lines), child, lines)
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** The process and its descendants: what `cluster` forks is part of its cost. */
  get pids(): number[] {
    const children = childrenByParent()
    const found = [this.pid]
    for (const pid of found) found.push(...(children.get(pid) ?? []))
    return found
  }

  /** What the server counts itself. Where memory is measured, it also collects its garbage. */
  async counts(): Promise<ServerCounts> {
    const line = once(this.#lines, 'line', { signal: AbortSignal.timeout(countsLimitMs) })
    this.#child.kill('SIGUSR2')
    const [text] = await line
    return JSON.parse(text)
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    const impatient = setTimeout(() => this.#child.kill('SIGKILL'), stopLimitMs)
    this.#child.kill('SIGTERM')
    await exited
    clearTimeout(impatient)
  }
}

function addressesOf(child: ChildProcess, lines: Interface): Promise<(number | string)[]> {
  return new Promise((resolve, reject) => {
    let errors = ''
    const fail = (reason: string): void => reject(new Error(`${reason}${errors === '' ? '' : `: ${lastPart(errors)}`}`))
    const limit = setTimeout(() => fail(`did not listen within ${startLimitMs} ms`), startLimitMs)
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    lines.once('line', (text) => {
      clearTimeout(limit)
      resolve((JSON.parse(text) as { addresses: (number | string)[] }).addresses)
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
