import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const examples = fileURLToPath(new URL('../../../examples/', import.meta.url))

/** An example, started by the `start` script of its package.json, on ports that the system chooses. */
export class Example {
  static readonly running = new Set<Example>()
  /** Variables for those that are started from now on. */
  static environment: Record<string, string> = {}
  readonly #child: ChildProcess
  readonly #closed: Promise<unknown[]>
  #output = ''
  #errors = ''

  constructor(name: string, ...args: string[]) {
    const folder = join(examples, name)
    this.#child = spawn(process.execPath, [...startArguments(folder), ...args], {
      cwd: folder,
      env: { ...process.env, ...Example.environment, PORT: '0' },
    })
    this.#closed = once(this.#child, 'close')
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text
    })
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text
    })
    Example.running.add(this)
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  get output(): string {
    return this.#output
  }
  get errors(): string {
    return this.#errors
  }

  /** Resolves when `done` accepts its output; rejects when it ends before. */
  async until(done: (output: string) => boolean): Promise<void> {
    let ended = false
    const end = this.#closed.then(() => {
      ended = true
    })
    while (!done(this.#output)) {
      if (ended) throw new Error(`it ended: ${this.#output}${this.#errors}`)
      await Promise.race([once(this.#child.stdout!, 'data'), end])
    }
  }

  /** Resolves when it has printed `count` lines with a port, to the ports. */
  async ports(count = 1): Promise<number[]> {
    const found = (): number[] =>
      [...this.#output.matchAll(/listening on .*?(\d+)(?: with \d+ reactors?)?\n/g)].map((match) => Number(match[1]))
    await this.until(() => found().length === count)
    return found()
  }

  /** Asks it to stop, and resolves to its exit code (or the signal that killed it). */
  stop(): Promise<unknown> {
    this.#child.kill('SIGTERM')
    return this.exit()
  }

  async exit(): Promise<unknown> {
    const [code, signal] = await this.#closed
    Example.running.delete(this)
    return code ?? signal
  }

  /** All that a test has left running. */
  static async killAll(): Promise<void> {
    Example.environment = {}
    for (const example of [...Example.running]) await example.kill()
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.exit()
  }
}

/** The script's words for `node`: the command's file as it is found from the example, and port 0. */
function startArguments(folder: string): string[] {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { scripts: { start: string } }
  const [command, ...words] = manifest.scripts.start.split(' ')
  if (command === 'node') return words
  expect(command).to.equal('multireactor')
  const packageFile = createRequire(join(folder, 'package.json')).resolve('multireactor/package.json')
  const { bin } = JSON.parse(readFileSync(packageFile, 'utf8')) as { bin: { multireactor: string } }
  expect(words).to.include('7000')
  return [join(dirname(packageFile), bin.multireactor), ...words.map((word) => (word === '7000' ? '0' : word))]
}
