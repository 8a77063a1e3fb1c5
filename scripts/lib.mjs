// Shared by the scripts. Only Node's own modules: prepare.mjs runs before anything is installed.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

/**
 * The projects whose dist holds compiled files, with the folder they are compiled from. Those with `threads` are bundled: the modules
 * that their threads start with have files of their own, as their exports have.
 */
export const projects = [
  { folder: 'addon', source: 'src', threads: [] },
  { folder: 'packages/reactor', source: 'src', threads: [] },
  { folder: 'packages/pool', source: 'src', threads: ['pool_thread'] },
  { folder: 'packages/codecs', source: 'src', threads: [] },
  { folder: 'packages/core', source: 'src', threads: ['reactor_thread', 'worker_thread'] },
  { folder: 'packages/http', source: 'src', threads: [] },
  { folder: 'packages/multireactor', source: 'src', threads: [] },
  { folder: 'bench', source: 'src' },
  { folder: 'test', source: '.' },
]

export class StepFailed extends Error {
  /** The output of the step, as far as it was kept. */
  output = ''
}

/** Runs a command in the repository's root, with the tools of node_modules on the path, and throws when it fails. */
export function run(command, args, options = {}) {
  const env = { ...process.env, ...options.env }
  env.PATH = `${join(root, 'node_modules/.bin')}:${env.PATH}`
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options, env })
  if (error) throw new StepFailed(`${command}: ${error.message}`)
  if (status !== 0) throw new StepFailed(`${command} ${args.join(' ')}: ${signal ?? `exit code ${status}`}`)
}

/** The output of a command, or undefined when it fails or does not exist. */
export function output(command, args) {
  const { status, stdout } = spawnSync(command, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  return status === 0 ? stdout.trim() : undefined
}

/** Every file below a folder, as paths relative to the root, sorted. */
export function filesBelow(folder, accept = () => true) {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .map((path) => path.slice(root.length))
    .filter((path) => !/(^|\/)(node_modules|dist|build|prebuilds)\//.test(path) && accept(path))
    .sort()
}

/** Runs `main` when the module is the program, and turns a failure into one line and exit code 1. */
export async function whenMain(url, main) {
  if (process.argv[1] === undefined || pathToFileURL(process.argv[1]).href !== url) return
  try {
    await main()
  } catch (err) {
    if (!(err instanceof StepFailed)) throw err
    console.error(err.message)
    process.exitCode = 1
  }
}
