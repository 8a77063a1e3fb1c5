import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const bin = fileURLToPath(new URL('../../../packages/multireactor/bin/multireactor.js', import.meta.url))

/** A process whose output is awaited line by line. */
export class Command {
  static readonly #running = new Set<Command>()
  readonly child: ChildProcess
  /** Resolves when it has ended and everything it said is here. */
  readonly ended: Promise<{ code: number | null; out: string; err: string }>
  readonly #lines: string[] = []
  readonly #waiting = new Set<() => void>()
  #err = ''

  constructor(file: string, args: readonly string[], more: { env?: NodeJS.ProcessEnv; fds?: number[] } = {}) {
    // Not under the npm that runs the tests, either: two signals that come close together would be one there.
    const { PORT: _port, HOST: _host, npm_lifecycle_event: _npm, ...env } = process.env
    const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', ...(more.fds ?? [])]
    this.child = spawn(file, args, { stdio, env: { ...env, ...more.env } })
    Command.#running.add(this)
    createInterface({ input: this.child.stdout! }).on('line', (text) => {
      this.#lines.push(text)
      for (const look of this.#waiting) look()
    })
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#err += text
      for (const look of this.#waiting) look()
    })
    this.ended = once(this.child, 'close').then(([code]) => {
      Command.#running.delete(this)
      return { code: code as number | null, out: this.#lines.join('\n'), err: this.#err }
    })
  }

  /** `multireactor serve` with these arguments. */
  static serve(...args: string[]): Command {
    return new Command(process.execPath, [bin, 'serve', ...args])
  }

  /** After a test that failed half-way. */
  static async killAll(): Promise<void> {
    const left = [...Command.#running]
    for (const { child } of left) child.kill('SIGKILL')
    await Promise.all(left.map(({ ended }) => ended))
  }

  get pid(): number {
    return this.child.pid!
  }

  /** Resolves to the first line of stdout that matches; rejects when the process ends without it. */
  line(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#until(() => this.#lines.map((text) => pattern.exec(text)).find((match) => match !== null) ?? undefined, pattern)
  }

  /** The same for its stderr. */
  complaint(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#until(() => pattern.exec(this.#err) ?? undefined, pattern)
  }

  #until(find: () => RegExpExecArray | undefined, pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = find()
        if (!found) return
        this.#waiting.delete(look)
        resolve(found)
      }
      this.#waiting.add(look)
      look()
      void this.ended.then(({ code, out, err }) => reject(new Error(`ended with ${code} before ${pattern}: ${out}${err}`)))
    })
  }
}
