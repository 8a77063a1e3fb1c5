// Compiles the addon for development, when a source changed since the last time.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
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

export function buildNative() {
  const wanted = fingerprint()
  if (existsSync(product) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  requireTools()
  run('node-gyp', ['configure', 'build', '-C', native, '-j', '2', '--loglevel=warn', ...headerOptions()])
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, wanted)
}

await whenMain(import.meta.url, buildNative)
