import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { loadgen } from './native.js'
import type { ServerProcess } from './server-process.js'

/** Connections that say nothing, in a process of their own. */
export class IdleConnections {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async open(server: ServerProcess, count: number): Promise<IdleConnections> {
    const args = ['--to', server.addresses.join(), '--idle', String(count)]
    const child = spawn(loadgen, args, { stdio: ['pipe', 'pipe', 'inherit'] })
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
