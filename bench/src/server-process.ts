import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import type { Candidate } from './candidates.js'
import { onCore, serverCore } from './cores.js'
import type { Work } from './work.js'

const startLimitMs = 10_000
const stopLimitMs = 2_000
const shownErrorBytes = 600

/** A server in a process of its own. */
export class ServerProcess {
  readonly name: string
  readonly port: number
  readonly #child: ChildProcess

  private constructor(name: string, port: number, child: ChildProcess) {
    this.name = name
    this.port = port
    this.#child = child
  }

  /** Resolves when the server listens; rejects with what it printed when it ends or stays silent instead. */
  static async start(candidate: Candidate, work: Work, pin: boolean): Promise<ServerProcess> {
    const [program, args] = onCore(serverCore, pin, candidate.command(work))
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    try {
      return new ServerProcess(candidate.name, await portOf(child), child)
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

  collectGarbage(): void {
    this.#child.kill('SIGUSR2')
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

function portOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let output = ''
    let errors = ''
    const fail = (reason: string): void => reject(new Error(`${reason}${errors === '' ? '' : `: ${lastPart(errors)}`}`))
    const limit = setTimeout(() => fail(`did not listen within ${startLimitMs} ms`), startLimitMs)
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (!output.includes('\n')) return
      clearTimeout(limit)
      resolve((JSON.parse(output.slice(0, output.indexOf('\n'))) as { port: number }).port)
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
