import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** As much of its own CPU time as its share of the clock's, in bursts: time that it had to wait is made up for. */
const thread = `
const { readFileSync } = require('node:fs')
const { workerData: share } = require('node:worker_threads')
const used = () => Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0]) / 1e6
const [since, before] = [performance.now(), used()]
const spin = () => {
  const owed = share * (performance.now() - since) + before
  for (let now = used(); now < owed; now = used()) for (const until = performance.now() + 0.5; performance.now() < until; );
  setTimeout(spin, 100 * (1 - share))
}
spin()
`
const program = `
const { Worker } = require('node:worker_threads')
const threads = process.argv.slice(1).map((share) => new Worker(${JSON.stringify(thread)}, { eval: true, workerData: Number(share) }))
Promise.all(threads.map((one) => new Promise((resolve) => one.once('online', resolve)))).then(() => process.send('burning'))
process.on('disconnect', () => process.exit())
`

/** A process that uses as much CPU as a storm did, in as many threads, and does nothing else that a server does. */
export class Burners {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** `shares`: how much of a core each thread uses, on average. */
  static async start(shares: readonly number[]): Promise<Burners> {
    const child = spawn(process.execPath, ['-e', program, ...shares.map((share) => String(Math.min(1, share)))], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const [said] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [unknown]
    if (said !== 'burning') throw new Error('the process that burns CPU ended')
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
