import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer as createNetServer, type AddressInfo } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { prometheusContentType, type Server, type ServeOptions, serve } from '@multireactor/core'
import { expect } from 'chai'
import { failureOf, fixture } from '../fixtures/bad-failure.js'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { Command } from '../support/command.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { parsePrometheus, sumOf } from '../support/prometheus.js'

interface Answer {
  status: number
  type: string | undefined
  fields: NodeJS.Dict<string | string[]>
  text: string
}

/** One request on a connection of its own. */
async function ask(
  at: { address?: string; port: number },
  path: string,
  more: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const asked = request({ host: at.address ?? '127.0.0.1', port: at.port, path, agent: false, ...more })
  asked.end()
  const [response] = await once(asked, 'response')
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return { status: response.statusCode, type: response.headers['content-type'], fields: response.headers, text }
}

/** Asks until the status is that one: how soon depends on the machine. */
async function until(at: { port: number }, path: string, status: number): Promise<Answer> {
  for (;;) {
    const answer = await ask(at, path)
    if (answer.status === status) return answer
  }
}

const warnings: string[] = []
const logger = { debug() {}, info() {}, warn: (message: string) => void warnings.push(message), error() {} }
const good: ServeOptions = {
  app: app('stuck'),
  listen: { port: 0, host: '127.0.0.1', name: 'main' },
  reactors: 1,
  pool: 0,
  admin: 0,
  logger,
}

describe('the admin listener', () => {
  let before: ReturnType<typeof census>
  let folder: string
  let server: Server | undefined
  beforeEach(() => {
    before = census()
    folder = mkdtempSync(join(tmpdir(), 'mr-admin-'))
    warnings.length = 0
  })
  afterEach(async () => {
    await Command.killAll()
    await server?.[Symbol.asyncDispose]()
    server = undefined
    rmSync(folder, { recursive: true })
    // A client's socket closes a moment later than it has read the end.
    while (census().sockets > before.sockets) await new Promise(setImmediate)
    expectNothingLeft(before)
  })
  const token = (content: string | Buffer, mode = 0o600): string => {
    const file = join(folder, 'token')
    writeFileSync(file, content)
    chmodSync(file, mode)
    return file
  }

  it('answers /metrics, /healthz and /readyz on loopback, and nothing else', async () => {
    server = await serve(good)
    const admin = server.admin!
    expect(admin.address).to.equal('127.0.0.1')
    expect(server.startLine).to.include(`, admin on 127.0.0.1:${admin.port}`)
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('x')
    await client.bytes(1)
    const metrics = await ask(admin, '/metrics?name=1')
    expect([metrics.status, metrics.type]).to.deep.equal([200, prometheusContentType])
    expect(sumOf(parsePrometheus(metrics.text), 'multireactor_connections_open')).to.equal(1)
    client.destroy()
    expect(await ask(admin, '/healthz')).to.deep.include({ status: 200, text: 'ok\n' })
    expect((await until(admin, '/readyz', 200)).text).to.equal('ok\n')
    const head = await ask(admin, '/healthz', { method: 'HEAD' })
    expect([head.status, head.text, head.fields['content-length'], head.fields.connection]).to.deep.equal([200, '', '3', 'close'])
    expect((await ask(admin, '/')).status).to.equal(404)
    const post = await ask(admin, '/metrics', { method: 'POST', headers: { 'content-length': '5' } })
    expect([post.status, post.fields['allow']]).to.deep.equal([405, 'GET, HEAD'])
    expect((await ask(admin, '/metrics', { headers: { long: 'x'.repeat(9_000) } })).status).to.equal(431)
    expect(warnings).to.deep.equal([])
  })

  it('answers while the reactor is stuck, and /readyz tells', async () => {
    server = await serve(good)
    const admin = server.admin!
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('y')
    expect((await until(admin, '/readyz', 503)).text).to.equal('no reactor accepts connections\n')
    expect((await ask(admin, '/healthz')).status).to.equal(200)
    expect((await ask(admin, '/metrics')).status).to.equal(200)
    client.destroy()
    await server.close({ timeoutMs: 0 })
  })

  it('says 503 from the beginning of drainDelayMs, while connections are still served', async () => {
    const abort = new AbortController()
    server = await serve({ ...good, signal: abort.signal })
    const admin = server.admin!
    await until(admin, '/readyz', 200)
    const closing = failureOf(() => server!.close({ drainDelayMs: 600_000 }))
    expect(await ask(admin, '/readyz')).to.deep.include({ status: 503, text: 'the server is closing\n' })
    expect((await ask(admin, '/healthz')).status).to.equal(200)
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('x')
    await client.bytes(1)
    expect((await failureOf(() => server!.close())).code).to.equal('ERR_MR_CLOSED')
    abort.abort()
    expect((await closing).code).to.equal('ERR_MR_CLOSED')
    await server.closed
    expect(server.admin).to.equal(undefined)
    await client.untilClosed()
  })

  it('closes after drainDelayMs', async () => {
    server = await serve(good)
    const since = performance.now()
    expect(await server.close({ drainDelayMs: 60 })).to.deep.equal({ answered: 0, destroyed: 0, shed: 0 })
    expect(performance.now() - since).to.be.at.least(59)
  })

  it('asks for the token where there is one', async () => {
    server = await serve({ ...good, admin: { port: 0, tokenFile: token('s3cret-._~+/=\n') } })
    const admin = server.admin!
    const as = async (authorization?: string) =>
      (await ask(admin, '/metrics', authorization === undefined ? {} : { headers: { authorization } })).status
    const refused = await ask(admin, '/metrics')
    expect([refused.status, refused.fields['www-authenticate']]).to.deep.equal([401, 'Bearer'])
    for (const wrong of ['s3cret-._~+/=', 'Bearer ', 'Bearer s3cret', 'Bearer s3cret-._~+/= x', 'Basic s3cret-._~+/=']) {
      expect(await as(wrong), wrong).to.equal(401)
    }
    expect(await as('Bearer s3cret-._~+/=')).to.equal(200)
    expect(await as('bearer  s3cret-._~+/=')).to.equal(200)
    expect((await ask(admin, '/healthz')).status).to.equal(200)
    await until(admin, '/readyz', 200)
    expect(warnings).to.deep.equal([])
  })

  it('warns of a token that every user can read', async () => {
    server = await serve({ ...good, admin: { port: 0, tokenFile: token('abc', 0o644) } })
    expect(warnings).to.have.length(1)
    expect(warnings[0]).to.match(/every user of this machine can read the admin token in .*token/)
  })

  it('refuses another host without a token, and serves it with one', async () => {
    const others = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).filter(({ internal }) => !internal))
    const hosts = ['0.0.0.0', '::', ...others.filter(({ family }) => family === 'IPv4').map(({ address }) => address)]
    for (const host of hosts) {
      const error = await failureOf(() => serve({ ...good, admin: { port: 0, host } }))
      expect([host, error.code]).to.deep.equal([host, 'ERR_MR_ADMIN_TOKEN'])
    }
    expect((await failureOf(() => serve({ ...good, admin: '0.0.0.0:0' }))).code).to.equal('ERR_MR_ADMIN_TOKEN')
    server = await serve({ ...good, admin: { port: 0, host: '0.0.0.0', tokenFile: token('abc') } })
    const { port } = server.admin!
    expect((await ask({ port }, '/metrics')).status).to.equal(401)
    expect((await ask({ port }, '/metrics', { headers: { authorization: 'Bearer abc' } })).status).to.equal(200)
    expect((await ask({ port }, '/healthz')).status).to.equal(200)
  })

  it('takes every loopback address without a token', async () => {
    for (const host of ['127.0.0.2', 'localhost', '::1']) {
      server = await serve({ ...good, admin: { port: 0, host } })
      expect((await ask(server.admin!, '/metrics')).status).to.equal(200)
      await server.close()
    }
  })

  it('refuses settings and token files that are not usable, with a code', async () => {
    const wrong: [unknown, string, string][] = [
      ['', 'ERR_MR_OPTION_RANGE', 'admin: must be [HOST:]PORT'],
      ['::1:80', 'ERR_MR_OPTION_RANGE', 'and is "::1:80"'],
      ['[127.0.0.1]:80', 'ERR_MR_OPTION_RANGE', 'must be [HOST:]PORT'],
      [':80', 'ERR_MR_OPTION_RANGE', 'must be [HOST:]PORT'],
      ['65536', 'ERR_MR_OPTION_RANGE', 'from 0 to 65535'],
      [-1, 'ERR_MR_OPTION_RANGE', 'from 0 to 65535'],
      [{}, 'ERR_MR_OPTION_TYPE', 'has no port'],
      [true, 'ERR_MR_OPTION_TYPE', 'must be a port'],
      [{ port: 0, token: 'x' }, 'ERR_MR_UNKNOWN_OPTION', "unknown option 'token'"],
      [{ port: 0, tokenFile: join(folder, 'none') }, 'ERR_MR_ADMIN_TOKEN', 'cannot be read: ENOENT'],
      [{ port: 0, tokenFile: folder }, 'ERR_MR_ADMIN_TOKEN', 'is not a regular file'],
      [{ port: 0, tokenFile: token(' \n') }, 'ERR_MR_ADMIN_TOKEN', 'is empty'],
    ]
    const refusedAs = async (admin: unknown, code: string, text: string) => {
      const error = await failureOf(() => serve({ ...good, admin } as ServeOptions))
      expect(error.code, error.message).to.equal(code)
      expect(error.message).to.include(text)
    }
    for (const [admin, code, text] of wrong) await refusedAs(admin, code, text)
    await refusedAs({ port: 0, tokenFile: token('two words') }, 'ERR_MR_ADMIN_TOKEN', 'must hold one token')
    await refusedAs({ port: 0, tokenFile: token('x'.repeat(5_000)) }, 'ERR_MR_ADMIN_TOKEN', 'more than 4096 bytes')
    const taken = createNetServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    await refusedAs((taken.address() as AddressInfo).port, 'EADDRINUSE', 'admin')
    taken.close()
  })

  it('answers a probe while peers hold more connections than it keeps', async () => {
    server = await serve(good)
    const admin = server.admin!
    const silent = await Promise.all(Array.from({ length: 80 }, () => Client.connect(admin.port)))
    for (const client of silent) client.write('GET /metrics HTTP/1.1\r\nHost: a\r\nX: ')
    expect((await ask(admin, '/healthz')).status).to.equal(200)
    // The oldest ones had to go.
    expect(census().sockets - before.sockets).to.be.below(2 * 80)
    await Promise.all(silent.slice(0, 40).map((client) => client.untilClosed()))
    // Garbage, a reset half-way, a second request on the same connection, an upgrade.
    for (const bytes of ['\0\x01\x02\r\n\r\n', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 'GET /healthz HTTP/9.9\r\n\r\n']) {
      const client = await Client.connect(admin.port)
      client.write(bytes)
      await client.untilClosed()
    }
    const gone = await Client.connect(admin.port)
    gone.write('GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n')
    gone.socket.resetAndDestroy()
    const twice = await Client.connect(admin.port)
    twice.write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2))
    await twice.untilClosed()
    expect(twice.received.toString().match(/HTTP\/1\.1 200/g)).to.have.length(1)
    const upgrade = await Client.connect(admin.port)
    upgrade.write('GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n')
    await upgrade.untilClosed()
    expect((await ask(admin, '/healthz')).status).to.equal(200)
    // It dies with the server, with open connections: our ends of the connections are still open then.
    const held = await Promise.all(Array.from({ length: 30 }, () => Client.connect(admin.port)))
    await ask(admin, '/healthz')
    const sockets = census().sockets
    await server.close()
    expect(sockets - census().sockets).to.be.at.least(25)
    await Promise.all(held.map((client) => client.untilClosed()))
    await Promise.all(silent.map((client) => client.untilClosed()))
    expect(warnings).to.deep.equal([])
  })

  it('works one request of a connection out, however many wait behind it', async () => {
    server = await serve(good)
    const stats = server.stats.bind(server)
    let asked = 0
    server.stats = () => {
      asked++
      return stats()
    }
    const client = await Client.connect(server.admin!.port)
    client.write('GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(100))
    await client.untilClosed()
    expect(client.received.toString().match(/HTTP\/1\.1 /g)).to.have.length(1)
    expect(asked).to.equal(1)
  })

  it('closes a connection whose request does not arrive', async function () {
    this.timeout(60_000)
    server = await serve(good)
    const client = await Client.connect(server.admin!.port)
    client.write('GET /metrics HTTP/1.1\r\n')
    await client.untilClosed()
    expect(client.received.toString()).to.match(/^(HTTP\/1\.1 408 |$)/)
  })

  it('is gone when the start fails', async () => {
    const taken = createNetServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    await new Promise((resolve) => taken.close(resolve))
    const failed = await serve({ ...good, app: fixture('bad-throws-in-start.js'), admin: port }).catch((error: Error) => error)
    expect(failed).to.be.instanceOf(Error)
    // The port is free.
    server = await serve({ ...good, admin: port })
    expect(server.admin).to.deep.equal({ address: '127.0.0.1', port })
  })
})

describe('the admin listener of the command', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mr-admin-'))
  })
  afterEach(async () => {
    await Command.killAll()
    rmSync(folder, { recursive: true })
  })
  const stuck = fileURLToPath(app('stuck'))
  const adminOf = async (command: Command) => ({ port: Number((await command.line(/, admin on 127\.0\.0\.1:(\d+)/))[1]) })
  const where = ['--port', '0', '--host', '127.0.0.1', '--reactors', '1', '--admin', '0']

  it('falls from ready at SIGTERM, --drain-delay before the listeners close', async () => {
    const server = Command.serve(stuck, ...where, '--drain-delay', '600000')
    const port = Number((await server.line(/^listening on .*:(\d+) with/))[1])
    const admin = await adminOf(server)
    await until(admin, '/readyz', 200)
    server.child.kill('SIGTERM')
    await until(admin, '/readyz', 503)
    const client = await Client.connect(port)
    client.write('x')
    await client.bytes(1)
    client.destroy()
    server.child.kill('SIGTERM')
    expect((await server.ended).code).to.equal(1)
  })

  it('is said to be loading before the app is loaded', async () => {
    const loaded = join(folder, 'loaded')
    const loading = fileURLToPath(new URL('../../../test/fixtures/cli-loading.js', import.meta.url))
    // The port is known before the app is: it is asked for.
    const probe = createNetServer().listen(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address() as AddressInfo
    await new Promise((resolve) => probe.close(resolve))
    const bin = fileURLToPath(new URL('../../../packages/multireactor/bin/multireactor.js', import.meta.url))
    const args = ['--port', '0', '--host', '127.0.0.1', '--reactors', '1', '--admin', String(port)]
    const server = new Command(process.execPath, [bin, 'serve', loading, ...args], { env: { LOADED: loaded } })
    await server.line(/^loading$/)
    expect(await ask({ port }, '/readyz')).to.deep.include({ status: 503, text: 'the server is starting\n' })
    expect((await ask({ port }, '/healthz')).status).to.equal(200)
    writeFileSync(loaded, '')
    await until({ port }, '/readyz', 200)
    server.child.kill('SIGTERM')
    expect((await server.ended).code).to.equal(0)
  })

  it('goes to the successor of a hot restart', async () => {
    const control = join(folder, 'control')
    const first = Command.serve(stuck, ...where, '--control', control, '--close-timeout', '600000')
    const { port } = await adminOf(first)
    // The old process takes its time.
    const client = await Client.connect(Number((await first.line(/^listening on .*:(\d+) with/))[1]))
    client.write('xy')
    await client.bytes(2)
    client.write('y')
    const second = Command.serve(stuck, ...where.slice(0, -1), String(port), '--control', control)
    expect(await adminOf(second)).to.deep.equal({ port })
    expect(first.child.exitCode).to.equal(null)
    client.destroy()
    await until({ port }, '/readyz', 200)
    second.child.kill('SIGTERM')
    expect(await second.ended).to.deep.include({ code: 0, err: '' })
  })

  it('exits with 2 for what cannot be meant', async () => {
    mkdirSync(join(folder, 'token'))
    for (const [args, text] of [
      [['--admin', 'x'], '--admin: must be [HOST:]PORT'],
      [['--admin', '0.0.0.0:0'], '[ERR_MR_ADMIN_TOKEN]'],
      [['--admin-token', 'file'], '--admin-token goes with --admin'],
      [['--admin', '0', '--admin-token', join(folder, 'token')], 'is not a regular file'],
      [['--drain-delay', 'soon'], '--drain-delay must be a whole number'],
    ] as const) {
      const { code, err } = await Command.serve(stuck, '--port', '0', '--reactors', '1', ...args).ended
      expect(err).to.include(text)
      expect(code).to.equal(2)
    }
  })
})
