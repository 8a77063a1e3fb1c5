// Shared by the packaging tests: the packages as npm would publish them, and empty folders to install them into.
import { execFile, execFileSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../../', import.meta.url))

export const packages: Record<string, string> = {
  '@multireactor/addon': 'addon',
  '@multireactor/reactor': 'packages/reactor',
  '@multireactor/pool': 'packages/pool',
  '@multireactor/codecs': 'packages/codecs',
  '@multireactor/core': 'packages/core',
  '@multireactor/http': 'packages/http',
  multireactor: 'packages/multireactor',
}

/** The Node programs to try: this one, or those that scripts/packages-on-nodes.mjs names. */
export const nodes: string[] = process.env.MULTIREACTOR_TEST_NODES?.split(':') ?? [process.execPath]

export interface Packed {
  readonly folder: string
  /** The tarball of each package, by name. */
  readonly tarballs: ReadonlyMap<string, string>
}

/**
 * Packs every package. The addon carries the development build, or with MULTIREACTOR_TEST_PREBUILDS=1 the output of `npm run make:prebuilds`.
 */
export async function packAll(): Promise<Packed> {
  const folder = mkdtempSync(join(tmpdir(), 'packed-'))
  const tarballs = new Map<string, string>()
  for (const [name, source] of Object.entries(packages)) {
    const from = name === '@multireactor/addon' ? stageAddon(folder) : join(root, source)
    const { stdout } = await npm(['pack', '--json', '--pack-destination', folder, from], root)
    const [{ filename }] = JSON.parse(stdout) as [{ filename: string }]
    tarballs.set(name, join(folder, filename))
  }
  return { folder, tarballs }
}

function stageAddon(folder: string): string {
  const addon = join(root, 'addon')
  if (process.env.MULTIREACTOR_TEST_PREBUILDS === '1') return addon
  const stage = join(folder, 'addon')
  cpSync(addon, stage, {
    recursive: true,
    filter: (path) => !['node_modules', 'build', 'prebuilds', 'test'].includes(basename(path)),
  })
  const prebuilds = join(stage, 'native/prebuilds', `linux-${process.arch}`)
  mkdirSync(prebuilds, { recursive: true })
  const target = join(prebuilds, `multireactor${isMusl() ? '.musl' : '.glibc'}.node`)
  copyFileSync(join(addon, 'native/build/Release/multireactor.node'), target)
  execFileSync('strip', [target])
  return stage
}

function isMusl(): boolean {
  return existsSync('/etc/alpine-release')
}

export function nativeBuilds(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.node'))
    .map((path) => join(folder, path))
}

/** An empty folder with one package installed, and its siblings only as far as it depends on them. */
export function installAlone(packed: Packed, name: string): Promise<Installed> {
  return install(packed, [name])
}

/** An empty folder with all of them. */
export function installAll(packed: Packed): Promise<Installed> {
  return install(packed, [...packed.tarballs.keys()])
}

async function install(packed: Packed, names: readonly string[]): Promise<Installed> {
  const folder = mkdtempSync(join(packed.folder, 'user-'))
  const tarball = (of: string): string => `file:${packed.tarballs.get(of)}`
  const siblings = [...packed.tarballs.keys()].filter((other) => !names.includes(other))
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({
      private: true,
      type: 'module',
      dependencies: Object.fromEntries(names.map((name) => [name, tarball(name)])),
      overrides: Object.fromEntries(siblings.map((other) => [other, tarball(other)])),
    }),
  )
  const bin = toolsWithoutCompiler(folder)
  await npm(['install', '--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts'], folder, bin)
  return new Installed(folder, bin)
}

// A PATH with only the needs of npm and a program: node and a shell.
function toolsWithoutCompiler(folder: string): string {
  const bin = join(folder, '.tools')
  mkdirSync(bin)
  symlinkSync(process.execPath, join(bin, 'node'))
  symlinkSync('/bin/sh', join(bin, 'sh'))
  return bin
}

export class Installed {
  readonly folder: string
  readonly #path: string

  constructor(folder: string, path: string) {
    this.folder = folder
    this.#path = path
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text)
  }

  /** Runs a file with one of the Node programs, the prebuild being the only native build it may load; its output. */
  async node(program: string, args: string[]): Promise<string> {
    const { stdout } = await run(program, args, { cwd: this.folder, env: this.#env(), timeout: 30_000 })
    return stdout.trim()
  }

  #env(): NodeJS.ProcessEnv {
    return { PATH: this.#path, HOME: this.folder, PREBUILDS_ONLY: '1' }
  }
}

async function npm(args: string[], cwd: string, path?: string): Promise<{ stdout: string }> {
  const env = { ...process.env, ...(path !== undefined && { PATH: path }) }
  return await run(process.execPath, [npmProgram(), ...args], { cwd, env, maxBuffer: 1 << 26 })
}

function npmProgram(): string {
  const given = process.env.npm_execpath
  if (given !== undefined && basename(given) === 'npm-cli.js') return given
  const onPath = (process.env.PATH ?? '').split(':').map((folder) => join(folder, 'npm'))
  const found = onPath.find((path) => existsSync(path))
  if (found === undefined) throw new Error('npm is not on the PATH')
  const real = realpathSync(found)
  return basename(real) === 'npm-cli.js' ? real : join(dirname(real), '../lib/node_modules/npm/bin/npm-cli.js')
}
