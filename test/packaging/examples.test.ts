import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { type Installed, installAll, type Packed, packAll, packages } from './packed.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const names = readdirSync(join(root, 'examples'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)

interface Manifest {
  scripts: Record<'start' | 'typecheck' | 'test', string>
  dependencies: Record<string, string>
  optionalDependencies?: Record<string, string>
  devDependencies: Record<string, string>
}

/** A folder of the examples in a folder of a user, with only the files that its package.json names. */
class Copy {
  readonly manifest: Manifest
  readonly #folder: string
  static readonly #running = new Set<ChildProcess>()

  constructor(installed: Installed, name: string) {
    this.#folder = join(installed.folder, 'copies', name)
    const isOurs = (path: string): boolean => !/\/(node_modules|collected\.jsonl)$/.test(path)
    cpSync(join(root, 'examples', name), this.#folder, { recursive: true, filter: isOurs })
    this.manifest = JSON.parse(readFileSync(join(this.#folder, 'package.json'), 'utf8')) as Manifest
    const { dependencies, optionalDependencies, devDependencies } = this.manifest
    for (const one of Object.keys({ ...dependencies, ...optionalDependencies, ...devDependencies })) {
      // Ours come out of the tarballs. The others are the pinned ones that the repository has: no registry is asked.
      const from = join(one in packages ? installed.folder : root, 'node_modules', one)
      this.#link(one, from)
      const { bin } = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8')) as { bin?: string | Record<string, string> }
      if (typeof bin === 'object')
        for (const [command, file] of Object.entries(bin)) this.#link(`.bin/${command}`, join(from, file))
    }
  }

  #link(name: string, to: string): void {
    const path = join(this.#folder, 'node_modules', name)
    mkdirSync(dirname(path), { recursive: true })
    symlinkSync(to, path)
  }

  /** As `npm run` does: a shell, and the commands of the dependencies on the path. Port 7000, where a script names it, becomes 0. */
  start(script: keyof Manifest['scripts']): ChildProcess {
    const { PORT: _port, HOST: _host, ...environment } = process.env
    const env = {
      ...environment,
      PATH: `${this.#folder}/node_modules/.bin:${dirname(process.execPath)}:/usr/bin:/bin`,
      PORT: '0',
      PREBUILDS_ONLY: '1',
      SOCKET: join(this.#folder, 'example.sock'),
      // The gateway does not start without them, as its README says.
      DEVICE_SECRET: '0123456789abcdef',
      API_TOKEN: 'fedcba9876543210',
    }
    const command = this.manifest.scripts[script].replace(/--port \d+/, '--port 0')
    const child = spawn('/bin/sh', ['-c', `exec ${command}`], { cwd: this.#folder, env, stdio: ['ignore', 'pipe', 'pipe'] })
    Copy.#running.add(child)
    child.once('close', () => Copy.#running.delete(child))
    return child
  }

  async run(script: keyof Manifest['scripts']): Promise<void> {
    const child = this.start(script)
    let said = ''
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (said += String(chunk)))
    const [code] = await once(child, 'close')
    expect(code, said).to.equal(0)
  }

  static async killAll(): Promise<void> {
    const left = [...Copy.#running]
    for (const child of left) child.kill('SIGKILL')
    await Promise.all(left.map((child) => once(child, 'close')))
  }
}

describe('an example that is copied out of the repository', function () {
  this.timeout(180_000)
  let packed: Packed
  let installed: Installed
  before(async () => {
    packed = await packAll()
    installed = await installAll(packed)
  })
  afterEach(() => Copy.killAll())
  after(() => {
    rmSync(packed.folder, { recursive: true })
  })

  for (const name of names) {
    it(`${name}: compiles with strict, passes its own test, starts and ends on SIGTERM`, async () => {
      const copy = new Copy(installed, name)
      await Promise.all([copy.run('typecheck'), copy.run('test')])
      // This one prints its results and ends.
      if (name === 'standalone-pool') return await copy.run('start')
      const child = copy.start('start')
      let said = ''
      child.stderr!.on('data', (chunk) => (said += String(chunk)))
      const ended = once(child, 'close')
      child.stdout!.on('data', (chunk) => {
        const isFirst = !said.includes('listening on')
        said += String(chunk)
        // A second signal would not wait.
        if (isFirst && said.includes('listening on')) child.kill('SIGTERM')
      })
      expect((await ended)[0], said).to.equal(0)
      expect(said).to.include('listening on')
    })
  }
})
