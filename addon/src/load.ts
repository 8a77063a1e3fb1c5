import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads'
import { MultireactorError } from './error.js'

const require = createRequire(import.meta.url)

/** The folder that holds binding.gyp, the sources, a development build and the prebuilds. */
export const nativeFolder: string = fileURLToPath(new URL('../native', import.meta.url))

/** Where the native build comes from. Other values than the defaults are for tests. */
export interface LoadOptions {
  folder?: string
  platform?: NodeJS.Platform
  /** `process.versions.node` */
  node?: string
}

/** As `engines` of the packages has it: npm only warns. */
const oldestNode = [20, 19] as const

/**
 * Loads the native build: a development build first, then the prebuild for this platform. Throws `ERR_MR_PLATFORM` or
 * `ERR_MR_ADDON_MISSING`, each with one sentence that names the remedy.
 */
export function load(options: LoadOptions = {}): unknown {
  const { folder = nativeFolder, platform = process.platform, node = process.versions.node } = options
  if (platform !== 'linux') {
    throw new MultireactorError(
      'ERR_MR_PLATFORM',
      `multireactor runs on Linux only (it drives epoll), and this is ${platform}: run it in a Linux container or virtual machine.`,
    )
  }
  const [major = 0, minor = 0] = node.split('.').map(Number)
  if (major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1])) {
    throw new MultireactorError(
      'ERR_MR_PLATFORM',
      `multireactor needs Node ${oldestNode.join('.')} or newer, and this is ${node}: install a newer one (https://nodejs.org).`,
    )
  }
  let path: string
  try {
    path = findBuild(folder)
  } catch (cause) {
    throw missing(folder, 'there is none', cause)
  }
  try {
    return require(path)
  } catch (cause) {
    // The addon's own refusal (a second copy in this process) is about more than this file, and already names the remedy.
    if (cause instanceof Error && 'code' in cause && String(cause.code).startsWith('ERR_MR_')) {
      throw new MultireactorError(String(cause.code), cause.message, { cause })
    }
    const why = cause instanceof Error ? cause.message : String(cause)
    throw missing(folder, `${path} does not load (${why})`, cause)
  }
}

/** Threads inherit the path that their parent found: a search costs each of them as much as three modules. */
function findBuild(folder: string): string {
  const name = `multireactor: build in ${folder}`
  const known = getEnvironmentData(name)
  if (typeof known === 'string') return known
  const nodeGypBuild = require('node-gyp-build') as { path(folder: string): string }
  const path = nodeGypBuild.path(folder)
  setEnvironmentData(name, path)
  return path
}

function missing(folder: string, what: string, cause: unknown): MultireactorError {
  return new MultireactorError(
    'ERR_MR_ADDON_MISSING',
    `@multireactor/addon needs a native build for ${process.platform}-${process.arch}, and ${what}: ` +
      `run \`npx --yes node-gyp@12 rebuild -j max -C ${JSON.stringify(folder)}\` (it needs g++, make and python3).`,
    { cause },
  )
}
