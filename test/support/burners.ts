import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** Of each tenth of a second, so many milliseconds are spent. */
const program = `
const share = Number(process.argv[1])
const spin = () => { for (const until = performance.now() + 100 * share; performance.now() < until; ); setTimeout(spin, 100 * (1 - share)) }
spin()
process.on('disconnect', () => process.exit())
`

/** Processes that use as much CPU as a storm did, and nothing else of a server. */
export class Burners {
  readonly #children: ChildProcess[]

  private constructor(children: ChildProcess[]) {
    this.#children = children
  }

  /** `cores`: how many of them are busy, on average. */
  static async start(cores: number): Promise<Burners> {
    const count = Math.max(1, Math.ceil(cores))
    const children = Array.from({ length: count }, () =>
      spawn(process.execPath, ['-e', program, String(Math.min(1, cores / count))], {
        stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      }),
    )
    await Promise.all(children.map((child) => once(child, 'spawn')))
    return new Burners(children)
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#children.map((child) => {
        const exited = once(child, 'exit')
        child.kill('SIGKILL')
        return exited
      }),
    )
  }
}
