import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MultireactorError } from '@multireactor/addon'
import { attach, serve } from '@multireactor/core'
import { httpApp } from '@multireactor/http'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { failureOf, fixture } from '../fixtures/bad-failure.js'
import { Client } from '../support/client.js'

const serving = (app: URL | string, pool = 0) =>
  failureOf(() => serve({ app, listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool }))

describe('a wrong app', () => {
  it('that is missing is refused by its path', async () => {
    const error = await serving(fixture('no-such-app.js'))
    expect(error.code).to.equal('ERR_MR_APP_NOT_FOUND')
    expect(error.message).to.include('/fixtures/no-such-app.js')
  })

  it('that is missing is refused with the file that a compiler has made of it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'no-app-'))
    try {
      for (const [missing, there] of [
        ['app.ts', 'app.js'],
        ['main.mjs', 'main.mts'],
      ] as const) {
        writeFileSync(join(folder, there), '')
        const { message } = await serving(join(folder, missing))
        expect(message).to.include(`there is no app module at ${join(folder, missing)}, but there is ${join(folder, there)}`)
      }
      expect((await serving(join(folder, 'other.ts'))).message).to.not.include('but there is')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('that is no file is refused', async () => {
    expect((await serving(new URL('https://example.org/app.js'))).code).to.equal('ERR_MR_APP_NOT_FOUND')
  })

  it('that is an object or a function is refused, since functions cannot cross threads', async () => {
    for (const app of [{ message() {} }, () => {}, 7, null, undefined, '']) {
      const error = await serving(app as never)
      expect(error.code).to.equal('ERR_MR_OPTION_TYPE')
      expect(error.message).to.include("'app' must be the URL or path of a module")
    }
  })

  it('that is no module is refused with the reason', async () => {
    for (const app of [fixture('bad-data.json'), fixture('.')]) {
      const error = await serving(app)
      expect(error.code, app.href).to.equal('ERR_MR_APP_LOAD')
      expect(error.message).to.include(app.href)
    }
  })

  it('without a default export is told what it needs', async () => {
    const error = await serving(fixture('bad-no-default.js'))
    expect(error.code).to.equal('ERR_MR_APP_SHAPE')
    expect(error.message).to.include('export default defineApp').and.include('undefined')
  })

  it('with a function as its default export is told what it needs', async () => {
    const error = await serving(fixture('bad-default-function.js'))
    expect(error.code).to.equal('ERR_MR_APP_SHAPE')
    expect(error.message).to.include('a function')
  })

  it('with an existing server as its default export is told of attach()', async () => {
    const error = await serving(fixture('bad-existing-server.js'))
    expect(error.code).to.equal('ERR_MR_APP_SHAPE')
    expect(error.message).to.include('an object (Server)').and.include('export default attach(() => server)')
  })

  it('with a fetch that is no function is told so', async () => {
    const error = await serving(fixture('bad-fetch.js'))
    expect(error.code).to.equal('ERR_MR_OPTION_TYPE')
    expect(error.message).to.include("bad-fetch.js: 'fetch' must be a function, and is 1")
  })

  it('without parse and message is refused', async () => {
    const error = await serving(fixture('bad-no-hooks.js'))
    expect(error.code).to.equal('ERR_MR_APP_SHAPE')
    expect(error.message).to.include('neither a parse nor a message hook')
  })

  it('that says where parse runs beside a message hook is refused, and so is a place that does not exist', async () => {
    const beside = await serving(fixture('bad-run-message.js'), 1)
    expect(beside.code).to.equal('ERR_MR_APP_SHAPE')
    expect(beside.message).to.include('run: "inline"').and.include('message hook')
    const nowhere = await serving(fixture('bad-run-value.js'), 1)
    expect(nowhere.code).to.equal('ERR_MR_OPTION_RANGE')
    expect(nowhere.message).to.include("'run' must be 'pool' or 'inline' or 'auto'").and.include("did you mean 'inline'?")
  })

  it('with a misspelt hook is told the right name', async () => {
    const error = await serving(fixture('bad-unknown-hook.js'))
    expect(error.code).to.equal('ERR_MR_UNKNOWN_OPTION')
    expect(error.message).to.include("'mesage', did you mean 'message'?")
  })

  it('with what an earlier version called otherwise is told the name of today', async () => {
    const error = await serving(fixture('bad-old-name.js'))
    expect(error.code).to.equal('ERR_MR_UNKNOWN_OPTION')
    expect(error.message).to.include("'called': it is 'onCall' now")
  })

  it('with keepAliveSeconds of an earlier version is told the name of today and its unit', async () => {
    expect(() => httpApp({ request() {}, keepAliveSeconds: 60 } as never)).to.throw(
      "'keepAliveSeconds': it is 'keepAliveMs' now, in milliseconds",
    )
  })

  it('of attach() that makes no server is told what to return', async () => {
    expect(() => attach(createServer() as never)).to.throw(
      MultireactorError,
      /must be a function that makes the server.* is an object \(Server\)/,
    )
    for (const [made, text] of [
      [undefined, 'has returned undefined'],
      [5, 'has returned 5'],
      [() => {}, 'has returned a function: return http.createServer(app)'],
    ] as const) {
      const app = attach(() => made as never)
      const error = await failureOf(async () => app.start!({ role: 'reactor' } as never))
      expect(error.code, text).to.equal('ERR_MR_OPTION_TYPE')
      expect(error.message).to.include(text)
    }
  })

  it('of HTTP with a hook that is no function is refused where it was written', () => {
    for (const name of ['parse', 'task', 'overloaded', 'onCall', 'balance', 'start', 'stop']) {
      expect(() => httpApp({ request() {}, [name]: 5 } as never), name).to.throw(
        `httpApp(): '${name}' must be a function, and is 5`,
      )
    }
  })

  it('with an option out of range is told the listener', async () => {
    await using reactor = new Reactor()
    for (const [options, text] of [
      [{ idleTimeoutMs: -5 }, 'the app of listener "front": \'idleTimeoutMs\' must be a whole number from 0'],
      [{ maxPendingMessages: 0 }, 'the app of listener "front": \'maxPendingMessages\''],
      [{ outBuffer: { high: 'x' } }, 'the app of listener "front" outBuffer: \'high\' must be a number, and is "x"'],
    ] as const) {
      const error = await failureOf(() => reactor.listen({ name: 'front', port: 0 }, { message() {}, ...(options as object) }))
      expect(error.message).to.include(text)
    }
  })

  it('with a hook that is no function is refused', async () => {
    const error = await serving(fixture('bad-hook-type.js'))
    expect(error.code).to.equal('ERR_MR_OPTION_TYPE')
    expect(error.message).to.include('\'message\' must be a function, and is "hello"')
  })

  it('that throws while it loads keeps its error as the cause', async () => {
    for (const pool of [0, 1]) {
      const error = await serving(fixture('bad-throws-on-load.js'), pool)
      expect(error.code).to.equal('ERR_MR_APP_LOAD')
      expect(error.message).to.include('no database today')
      expect(error.cause).to.be.instanceOf(Error).and.include({ name: 'RangeError', message: 'no database today' })
    }
  })

  it('whose start hook throws does not start, and the error is the hook’s own', async () => {
    let caught: unknown
    try {
      await serve({ app: fixture('bad-throws-in-start.js'), listen: 0, reactors: 2, pool: 0 })
    } catch (error) {
      caught = error
    }
    expect(caught).to.be.instanceOf(Error)
    expect((caught as Error).message).to.include('no licence today')
  })

  it('with parse alone needs a pool', async () => {
    const error = await serving(fixture('bad-parse-length.js'))
    expect(error.code).to.equal('ERR_MR_NO_POOL')
  })

  it('that is the running main module is refused with the command that serves it', () => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [fixture('bad-main.mjs').pathname], { encoding: 'utf8' })
    expect(stderr).to.equal('')
    expect(stdout).to.match(/^ERR_MR_APP_IS_MAIN .*running main module.*multireactor serve .*bad-main\.mjs/)
    expect(status).to.equal(0)
  })
})

describe('an app without framing', () => {
  it('is served, CommonJS that was compiled from an ES module too, and told of once', async () => {
    const warnings: string[] = []
    const logger = { debug() {}, info() {}, warn: (message: string) => warnings.push(message), error() {} }
    const app = fixture('compiled-cjs.cjs')
    await using server = await serve({ app, listen: { port: 0, host: '127.0.0.1' }, reactors: 2, logger })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('hello\n')
    expect(await client.lines(1)).to.deep.equal(['hello'])
    client.destroy()
    await client.untilClosed()
    expect(warnings).to.have.length(1)
    expect(warnings[0]).to.include(`${app} has no framing`).and.include('framing: raw()')
  })
})
