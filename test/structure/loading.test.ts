import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
// As the main thread of a server: its threads inherit the path of the addon's build.
import '@multireactor/addon'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../..', import.meta.url))
/** The modules that the build has put into each file. */
const bundles = JSON.parse(readFileSync(`${root}/.build/bundles.json`, 'utf8')) as Record<string, string[]>

/** The modules of ours that a program loads, by the names of their sources: `core/server`. */
function loadedBy(program: string): string[] {
  const hooks = `
    import { register } from 'node:module'
    register('data:text/javascript,' + encodeURIComponent(\`
      export async function load(url, context, next) {
        if (/multireactor.*dist|packages|addon/.test(url) && !url.includes('node_modules/')) process._rawDebug(url)
        return next(url, context)
      }\`))`
  const args = ['--import', `data:text/javascript,${encodeURIComponent(hooks)}`, '--input-type=module', '-e', program]
  const { stderr, status } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    cwd: fileURLToPath(new URL('..', import.meta.url)),
  })
  expect(status, stderr).to.equal(0)
  return stderr
    .split('\n')
    .filter((line) => line.startsWith('file:'))
    .flatMap((url) => bundles[relative(root, fileURLToPath(url))] ?? [])
    .flatMap(
      (source) =>
        source
          .match(/([^/]+)\/src\/(\w+)\.ts$/)
          ?.slice(1)
          .join('/') ?? [],
    )
}

/** The modules of Node that a thread loads with these, beyond those of every thread. */
async function builtinsLoadedBy(...modules: string[]): Promise<string[]> {
  const program = `
    const { parentPort } = require('node:worker_threads')
    // Which is needed by all, and brings along others, by the version of Node.
    import('node:fs').then(async () => {
      const before = new Set(process.moduleLoadList)
      await Promise.all(${JSON.stringify(modules)}.map((module) => import(module)))
      parentPort.postMessage(process.moduleLoadList.filter((name) => !before.has(name)))
    })`
  const thread = new Worker(program, { eval: true })
  // At once: a thread that has ended before its message is read says both in one go.
  const [[names]] = (await Promise.all([once(thread, 'message'), once(thread, 'exit')])) as [[string[]], unknown]
  return names.map((name) => name.replace('NativeModule ', ''))
}

describe('what is loaded', () => {
  it('of Node, by the threads of a server: nothing that most of them never need', async () => {
    const loaded = await builtinsLoadedBy('@multireactor/core', '@multireactor/reactor/parts', '@multireactor/pool/parts')
    expect(loaded).to.include('perf_hooks') // the list is one
    // os comes with the search for the addon's build.
    for (const none of ['net', 'tls', 'http', 'dns/promises', 'v8', 'internal/util/parse_args/parse_args', 'os'])
      expect(loaded).to.not.include(none)
  })

  it('by an app module: nothing of the server, of a reactor or of the pool', () => {
    const loaded = loadedBy(`import { defineApp, lines } from '@multireactor/core'; defineApp({ framing: lines() })`)
    expect(loaded).to.include('reactor/framing')
    expect(loaded).to.include('core/serve')
    for (const none of [
      'core/server',
      'core/options',
      'reactor/engine',
      'reactor/address',
      'reactor/secure_layer',
      'pool/thread',
    ]) {
      expect(loaded).to.not.include(none)
    }
  })

  it('by the thread that calls serve(): no engine, and nothing that runs frames', () => {
    const loaded = loadedBy(`import { serve } from '@multireactor/core'; await serve({}).catch(() => {})`)
    expect(loaded).to.include('core/server')
    for (const none of ['reactor/engine', 'reactor/secure_layer', 'pool/worker_loop', 'pool/inline_loop'])
      expect(loaded).to.not.include(none)
  })
})
