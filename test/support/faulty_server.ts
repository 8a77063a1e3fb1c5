import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { CloseResult, ServeOptions, ServerListener, ServerStats } from '@multireactor/core'
import { app } from './app.js'
import type { Faults } from './faults.js'
import type { census } from './leaks.js'

type Census = ReturnType<typeof census>

export interface Report {
  stats: ServerStats
  atMs: number
  warnings: string[]
}
export interface Closed extends CloseResult {
  /** Just before it closed. */
  last: Report
  /** Of its reactors while it closed, as far as they were still there to be asked. */
  turns: number
  before: Census
  after: Census
}
export interface Refused {
  code: string
  message: string
  before: Census
  after: Census
}
export type Question = 'report' | 'close'
export type Answer = { listeners: ServerListener[] } | { report: Report } | { closed: Closed } | { refused: Refused }

/** The options of `serve()` that can be written as JSON. */
export type ProcessOptions = Pick<ServeOptions, 'app' | 'listen' | 'reactors' | 'pool' | 'limits'>

/** A server in a process of its own, whose addon meets faults. See test/fixtures/faults-server.ts. */
export class ServerProcess {
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>
  #errors = ''
  #listeners: ServerListener[] = []

  private constructor(faults: Faults, options: ProcessOptions, descriptors: number | undefined) {
    const program = [process.execPath, '--enable-source-maps', app('faults-server').pathname, JSON.stringify(options)]
    const limited = descriptors === undefined ? program : ['sh', '-c', `ulimit -n ${descriptors}; exec "$@"`, 'sh', ...program]
    this.#child = spawn(limited[0]!, limited.slice(1), {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      env: { ...process.env, ...faults.env },
    })
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text
    })
    this.#ended = once(this.#child, 'close').then(([code, signal]) => {
      throw new Error(`the server's process ended (${signal ?? `exit code ${code}`}): ${this.#errors}`)
    })
    this.#ended.catch(() => {})
  }

  /** `descriptors`: its `ulimit -n`. */
  static async start(faults: Faults, options: ProcessOptions, descriptors?: number): Promise<ServerProcess> {
    const server = new ServerProcess(faults, options, descriptors)
    const answer = await server.#answer()
    if ('refused' in answer) throw new Error(`${answer.refused.code}: ${answer.refused.message}`)
    if ('listeners' in answer) server.#listeners = answer.listeners
    return server
  }

  /** Starts a server that must not start. */
  static async refused(faults: Faults, options: ProcessOptions): Promise<Refused> {
    const server = new ServerProcess(faults, options, undefined)
    const answer = await server.#answer()
    if (!('refused' in answer)) throw new Error('it started')
    await server.#ended.catch(() => {})
    return answer.refused
  }

  /** Where a client connects: a port, or a Unix path. */
  target(listener = 0): number | string {
    const { address, port } = this.#listeners[listener]!
    return port || address
  }

  async report(): Promise<Report> {
    const answer = await this.#ask('report')
    if (!('report' in answer)) throw new Error('no report')
    return answer.report
  }

  /** Waits for a fact. Not in every turn: asking costs the server time that a test may be measuring. */
  async until(fact: (report: Report) => boolean): Promise<Report> {
    for (;;) {
      const report = await this.report()
      if (fact(report)) return report
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  async close(): Promise<Closed> {
    const answer = await this.#ask('close')
    await this.#ended.catch(() => {})
    if (!('closed' in answer)) throw new Error('it did not close')
    if (this.#child.exitCode !== 0) await this.#ended
    return answer.closed
  }

  /** Whether or not it has closed: afterwards nothing of it is left. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended.catch(() => {})
  }

  #ask(question: Question): Promise<Answer> {
    const answer = this.#answer()
    this.#child.send(question)
    return answer
  }

  #answer(): Promise<Answer> {
    const answered = once(this.#child, 'message').then(([message]) => message as Answer)
    return Promise.race([answered, this.#ended as Promise<never>])
  }
}
