// Compiles the addon for development, when a source changed since the last time. Tests compile each source for itself. `npm start` takes a
// room as one unit, which spares the time of reading the same headers 80 times: a third of the CPU.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { filesBelow, output, root, run, StepFailed, whenMain } from './lib.mjs'

const native = 'addon/native'
const product = join(root, native, 'build/Release/multireactor.node')
const stamp = join(root, native, 'build/multireactor.stamp')

function fingerprint() {
  const hash = createHash('sha256').update(`${process.platform}-${process.arch}\0`)
  for (const path of [`${native}/binding.gyp`, ...filesBelow(`${native}/src`)]) {
    hash
      .update(path)
      .update('\0')
      .update(readFileSync(join(root, path)))
  }
  return hash.digest('hex')
}

function requireTools() {
  const absent = ['g++', 'make', 'python3'].filter((tool) => output(tool, ['--version']) === undefined)
  if (absent.length > 0) {
    throw new StepFailed(
      `The addon is compiled from C++ here, and ${absent.join(', ')} cannot be run: install it (Debian: apt-get install g++ make python3).`,
    )
  }
}

/** Options that let node-gyp use the headers installed beside this Node; without them it downloads them. */
export function headerOptions() {
  const prefix = dirname(dirname(process.execPath))
  return existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : []
}

/** Its definitions must not be seen beside the headers that declare them. */
const alone = ['old_libraries.cc']

/** Writes one source for each room, which includes all of the room's; those that have to be alone are one each. */
export function writeUnity(folder = join(root, native, 'build/unity')) {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const units = new Map()
  for (const path of filesBelow(`${native}/src`, (file) => file.endsWith('.cc'))) {
    const name = alone.includes(basename(path)) ? basename(path, '.cc') : basename(dirname(path))
    units.set(name, [...(units.get(name) ?? []), join(root, path)])
  }
  const size = ([, files]) => files.reduce((sum, file) => sum + statSync(file).size, 0)
  // The longest first, so that no core waits for the last one alone.
  for (const [i, [name, files]] of [...units].sort((a, b) => size(b) - size(a)).entries()) {
    writeFileSync(join(folder, `${i}_${name}.cc`), files.map((file) => `#include "${file}"\n`).join(''))
  }
}

/** `unity`: an existing build of either kind is kept. */
export function buildNative({ unity = false } = {}) {
  const wanted = fingerprint()
  const isBuilt = existsSync(product) && existsSync(stamp)
  const built = isBuilt ? readFileSync(stamp, 'utf8') : ''
  if (built === wanted || (unity && built === `${wanted} unity`)) return
  requireTools()
  if (unity) writeUnity()
  const options = ['-j', String(availableParallelism()), '--loglevel=warn', ...headerOptions()]
  // Arguments behind `--` would go to make as well.
  run('node-gyp', ['configure', 'build', '-C', native, ...options], { env: { GYP_DEFINES: unity ? 'unity=1' : '' } })
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, unity ? `${wanted} unity` : wanted)
}

await whenMain(import.meta.url, () => buildNative())
