import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
// As the main thread of a server: what it finds out of the addon's build its threads inherit.
import '@multireactor/addon'
import { expect } from 'chai'

/** The modules of ours that a program loads, by the names of their files. */
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
  return stderr.split('\n').flatMap((line) => /([^/]+\/dist\/\w+)\.js$/.exec(line)?.[1] ?? [])
}

/** What a thread that loads these has loaded of Node, beyond what every thread has. */
async function builtinsLoadedBy(...modules: string[]): Promise<string[]> {
  const program = `
    const { parentPort } = require('node:worker_threads')
    const before = new Set(process.moduleLoadList)
    Promise.all(${JSON.stringify(modules)}.map((module) => import(module))).then(() =>
      parentPort.postMessage(process.moduleLoadList.filter((name) => !before.has(name))))`
  const thread = new Worker(program, { eval: true })
  const [names] = (await once(thread, 'message')) as [string[]]
  await once(thread, 'exit')
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
    expect(loaded).to.include('reactor/dist/framing')
    expect(loaded).to.include('core/dist/serve')
    for (const none of [
      'core/dist/server',
      'core/dist/options',
      'reactor/dist/engine',
      'reactor/dist/address',
      'reactor/dist/secure_layer',
      'pool/dist/thread',
    ]) {
      expect(loaded).to.not.include(none)
    }
  })

  it('by the thread that calls serve(): no engine, and nothing that runs frames', () => {
    const loaded = loadedBy(`import { serve } from '@multireactor/core'; await serve({}).catch(() => {})`)
    expect(loaded).to.include('core/dist/server')
    for (const none of ['reactor/dist/engine', 'reactor/dist/secure_layer', 'pool/dist/worker_loop', 'pool/dist/inline_loop'])
      expect(loaded).to.not.include(none)
  })
})
