import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { CloseResult, ServeOptions, ServerStats } from '@multireactor/core'
import { expect } from 'chai'
import { app } from './app.js'
import { Client } from './client.js'
import type { Faults } from './faults.js'
import type { census } from './leaks.js'

/** The state of a server process, as it reports it. */
export interface Vitals {
  rss: number
  fds: number
  threads: number
  cpuMs: number
  /** Counts of the apps; see fixtures/storm-counts.ts. */
  counts: number[]
  /** The first of the `error` events. */
  errors: string[]
  errorCount: number
  replaced: { reason: string; lost: number; requeued: number; error: string | undefined }[]
  reactorsReplaced: { index: number; reason: string; error: string | undefined }[]
  /** Its own wall clock. */
  wallMs: number
  stats: ServerStats
}

export interface ServerPlan extends Omit<ServeOptions, 'app' | 'listen'> {
  /** A fixture. */
  app: string
  /** Names of listeners, all on port 0, and further options of one: another fixture, a path, certificates. */
  listeners?: (string | { name: string; app?: string; path?: string; tls?: { cert: string; key: string } })[]
  execArgv?: string[]
  env?: Record<string, string>
  /** Its addon meets them. */
  faults?: Faults
}

/** The environment of a server process for an addon that is compiled with a sanitizer; see scripts/sanitized-in-node.mjs. */
const sanitizer = JSON.parse(process.env['STORM_SANITIZER'] ?? '{}') as Record<string, string>

/** `serve()` in a process of its own, where memory, descriptors and CPU time are the server's alone. */
export class ServerProcess {
  readonly ports: readonly number[]
  readonly #child: ChildProcess
  readonly #waiting: Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>
  #next = 0

  private constructor(child: ChildProcess, ports: number[]) {
    this.#child = child
    this.ports = ports
    this.#waiting = new Map()
    child.on('message', ({ id, value, error }: { id: number; value: unknown; error?: string }) => {
      if (error === undefined) this.#waiting.get(id)?.resolve(value)
      else this.#waiting.get(id)?.reject(new Error(error))
      this.#waiting.delete(id)
    })
    child.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the server process ended: ${signal ?? code}`))
    })
  }

  static async start({ app: name, listeners, execArgv = [], env, faults, ...rest }: ServerPlan): Promise<ServerProcess> {
    // All of 127/8, so that a storm does not run out of its own ports.
    const listen = (listeners ?? ['main']).map((one) => {
      const { name, path, app: other, ...tls } = typeof one === 'string' ? { name: one } : one
      return {
        name,
        ...(path === undefined ? { port: 0, host: '0.0.0.0' } : { path }),
        ...(other === undefined ? {} : { app: app(other) }),
        ...tls,
      }
    })
    const options = JSON.stringify({ ...rest, app: app(name), listen })
    const child = fork(new URL('./server-program.js', import.meta.url), [options], {
      execArgv: ['--expose-gc', '--enable-source-maps', ...execArgv],
      serialization: 'advanced',
      env: { ...process.env, ...sanitizer, ...env, ...faults?.env },
    })
    const started = await Promise.race([once(child, 'message'), once(child, 'exit')])
    const { ports } = (typeof started[0] === 'object' ? started[0] : {}) as { ports?: number[] }
    if (!ports) throw new Error('the server process ended before it listened')
    return new ServerProcess(child, ports)
  }

  get port(): number {
    return this.ports[0]!
  }

  get pid(): number {
    return this.#child.pid!
  }

  vitals(): Promise<Vitals> {
    return this.#ask('vitals') as Promise<Vitals>
  }

  async release(cell: number): Promise<void> {
    await this.#ask('release', cell)
  }

  async reload(): Promise<void> {
    await this.#ask('reload')
  }

  async resize(sizes: { reactors?: number; pool?: number }): Promise<void> {
    await this.#ask('resize', sizes)
  }

  /** Ends a thread whose app has `start` of fixtures/mortal.ts, `'reactor 1 exit'` for instance; resolves when its successor is due. */
  async killReactor(index: number, how: string): Promise<void> {
    await this.#ask('killReactor', { index, how })
  }

  /** A connection of this reactor, whose app answers the line `who` with its number. */
  async clientOn(reactor: number): Promise<Client> {
    for (;;) {
      const client = await Client.connect(this.port)
      client.write('who\n')
      if ((await client.lines(1))[0] === `${reactor}`) return client
      client.socket.end()
      await client.untilClosed()
    }
  }

  /** Asks until `done` says so. `withinMs` is for hangs: it fails then with the last state. */
  async until(what: string, done: (vitals: Vitals) => boolean, withinMs = 120_000): Promise<Vitals> {
    const limit = performance.now() + withinMs
    for (;;) {
      const vitals = await this.vitals()
      if (done(vitals)) return vitals
      if (performance.now() > limit) throw new Error(`not within ${withinMs} ms: ${what}; ${JSON.stringify(vitals)}`)
    }
  }

  /** Asks until nothing is read or written any more. Each question is a turn of our own loop too, so our sockets go on. */
  async untilStalled(): Promise<Vitals> {
    for (let same = 0, seen = ''; ; ) {
      const vitals = await this.vitals()
      const [bytes, was] = [JSON.stringify(vitals.stats.reactors.map((r) => [r.bytesRead, r.bytesWritten])), seen]
      same = bytes === was ? same + 1 : 0
      seen = bytes
      if (same === 100) return vitals
    }
  }

  /** Closes, and lets the process end by itself, as sanitizers need it: they look for leaks when it exits. */
  async exit(): Promise<CloseResult> {
    const result = await this.#close()
    const exited = once(this.#child, 'exit')
    this.#child.disconnect()
    const [code, signal] = await exited
    expect([code, signal], 'exit code and signal of the server process').to.deep.equal([0, null])
    return result
  }

  /** Orderly; the process must then hold the same resources as before it served. */
  async close(): Promise<CloseResult> {
    const result = await this.#close()
    await this.kill()
    return result
  }

  async #close(): Promise<CloseResult> {
    type Counted = ReturnType<typeof census>
    const closed = (await this.#ask('close')) as { result: CloseResult; before: Counted; after: Counted }
    const { threads: before, ...descriptorsBefore } = closed.before
    const { threads: after, ...descriptors } = closed.after
    expect(descriptors).to.deep.equal(descriptorsBefore)
    expect(after).to.be.at.most(before + 1)
    return closed.result
  }

  /** In any state. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  #ask(name: string, value: unknown = 0): Promise<unknown> {
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, name, value }, (error) => {
        if (error) reject(error)
      })
    })
  }
}

/** Runs `work` with a server process, closes it, and leaves none behind when `work` fails. */
export async function withServer(plan: ServerPlan, work: (server: ServerProcess) => Promise<void>): Promise<void> {
  const server = await ServerProcess.start(plan)
  try {
    await work(server)
    await server.close()
  } finally {
    await server.kill()
  }
}
