import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { threadCpuMsOf } from './cpu.js'

/**
 * Uses as much of its own CPU time as the profile says that the other thread had used by then. Waiting time is made up
 * for, as it was for the other one.
 */
const thread = `
const { readFileSync } = require('node:fs')
const { parentPort, workerData: { profile, slotMs } } = require('node:worker_threads')
const used = () => Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0]) / 1e6
parentPort.once('message', () => {
  const [since, before] = [performance.now(), used()]
  let slot = 0
  let owed = before
  const spin = () => {
    for (; slot < profile.length && performance.now() - since >= slot * slotMs; slot++) owed += profile[slot]
    for (let now = used(); now < owed; now = used()) for (const until = performance.now() + 0.2; performance.now() < until; );
    while (slot < profile.length && profile[slot] === 0) slot++
    if (slot < profile.length) setTimeout(spin, Math.max(0, since + slot * slotMs - performance.now()))
  }
  spin()
})
parentPort.postMessage('ready')
`
const program = `
const { once } = require('node:events')
const { Worker } = require('node:worker_threads')
process.once('message', async ({ profiles, slotMs }) => {
  const threads = profiles.map((profile) => new Worker(${JSON.stringify(thread)}, { eval: true, workerData: { profile, slotMs } }))
  await Promise.all(threads.map((one) => once(one, 'message')))
  process.once('message', () => threads.forEach((one) => one.postMessage('go')))
  process.send('ready')
})
process.on('disconnect', () => process.exit())
`

/** CPU use of each thread of some processes, slot by slot. */
export class CpuProfile {
  readonly slotMs = 20
  readonly #pids: readonly number[]
  readonly #slots = new Map<string, number[]>()
  readonly #timer: NodeJS.Timeout
  readonly #since = performance.now()
  #before: Map<string, number>

  constructor(pids: readonly number[]) {
    this.#pids = pids
    this.#before = this.#read()
    this.#timer = setInterval(() => this.#note(), this.slotMs)
  }

  /** Milliseconds of CPU in each slot of each thread that used any. */
  end(): number[][] {
    clearInterval(this.#timer)
    this.#note()
    return [...this.#slots.values()]
  }

  #note(): void {
    const slot = Math.floor((performance.now() - this.#since) / this.slotMs)
    const now = this.#read()
    for (const [thread, used] of now) {
      const spent = used - (this.#before.get(thread) ?? 0)
      if (spent < 0.01) continue
      const slots = this.#slots.get(thread) ?? []
      this.#slots.set(thread, slots)
      while (slots.length < slot) slots.push(0)
      slots[slot] = (slots[slot] ?? 0) + spent
    }
    this.#before = now
  }

  #read(): Map<string, number> {
    return new Map(this.#pids.flatMap((pid) => [...threadCpuMsOf(pid)]))
  }
}

/** A process that uses as much CPU as others did, in as many threads and in the same bursts, and does nothing else that they do. */
export class Burners {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(profiles: readonly number[][], slotMs: number): Promise<Burners> {
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    child.send({ profiles, slotMs })
    const [said] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [unknown]
    if (said !== 'ready') throw new Error('the process that burns CPU ended')
    child.send('go')
    return new Burners(child)
  }

  get pid(): number {
    return this.#child.pid!
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}
