import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect as connectTls } from 'node:tls'
import { serve } from '@multireactor/core'
import { httpApp, type HttpResponse } from '@multireactor/http'
import { type CloseReason, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { closedAs } from '../support/closed.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { handshake } from '../support/websocket.js'
import { hooksTried, waysTried } from '../fixtures/throwing.js'

/** The fate of a connection whose hook fails. `served`: nothing, it is answered. */
const outcomes: Record<(typeof hooksTried)[number], string> = {
  open: 'handler-error',
  message: 'handler-error',
  drain: 'handler-error',
  end: 'handler-error',
  timeout: 'handler-error',
  badFrame: 'handler-error',
  close: 'end',
  balance: 'served',
  parse: 'parse-error',
  error: 'parse-error',
  iterator: 'parse-error',
  return: 'parse-error',
  cut: 'malformed-frame',
  restore: 'handler-error',
  suspend: 'thread-lost',
}
/** A thenable that resolves and then rejects has resolved. Its value is not a reply, a cut or a reactor. */
const settledWell: typeof outcomes = {
  ...outcomes,
  open: 'served',
  message: 'served',
  drain: 'served',
  timeout: 'served',
  end: 'end',
  badFrame: 'frame-too-large',
  parse: 'silent',
  error: 'silent',
}
const whenReloaded = ['restore', 'suspend']

describe('callbacks of the app that throw, reject, or return what throws', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('cost their connection, and nobody else anything', async function () {
    this.timeout(30_000)
    const names = hooksTried.flatMap((hook) => waysTried.map((way) => `${hook} ${way}`))
    const listen = [...names, 'calm'].map((name) => ({ name, port: 0, host: '127.0.0.1' }))
    await using server = await serve({ app: app('throwing'), listen, reactors: 1, pool: 1 })
    const reported: string[] = []
    server.on('error', (_error, { hook, listener }) => reported.push(`${listener}: ${hook}`))
    const port = (name: string): number => server.listeners.find((one) => one.name === name)!.port
    const calm = await Client.connect(port('calm'))
    calm.write('hello\n')
    await calm.lines(1)
    const kept: Client[] = []
    const expected: Record<string, number> = {}
    for (const name of names) {
      const [hook, way] = name.split(' ') as [(typeof hooksTried)[number], string]
      const client = await Client.connect(port(name))
      client.write(hook === 'badFrame' ? 'x'.repeat(300) : 'line\n')
      if (whenReloaded.includes(hook)) {
        await client.lines(1)
        kept.push(client)
        continue
      }
      if (hook === 'end' || hook === 'close') client.socket.end()
      const outcome = way === 'twice' ? settledWell[hook] : outcomes[hook]
      if (outcome === 'served') await client.until(({ received }) => received.includes('line\n'))
      else if (outcome !== 'silent') await client.untilClosed()
      client.destroy()
      if (outcome === 'silent' || outcome === 'served' || outcome === 'end') continue
      expected[outcome] = (expected[outcome] ?? 0) + 1
      if (way === 'twice' && hook === 'badFrame') continue
      const isTold = reported.some((text) => text.startsWith(`${name}: `))
      expect(isTold, `${name} is reported`).to.equal(true)
    }
    for (const [reason, count] of Object.entries(expected)) {
      expect(await closedAs(server, reason as CloseReason, count), reason).to.equal(count)
    }
    await server.reload()
    for (const client of kept) client.destroy()
    calm.write('again\n')
    expect(await calm.lines(2)).to.deep.equal(['hello', 'again'])
    const { reactorsReplaced, workersReplaced, connections } = server.stats()
    expect({ reactorsReplaced, workersReplaced }).to.deep.equal({ reactorsReplaced: 0, workersReplaced: 0 })
    expect(connections.closed['thread-lost'], 'those that could not be suspended').to.be.at.least(waysTried.length - 2)
    calm.destroy()
  })

  it('of streams, HTTP and WebSocket: the same', async () => {
    const boom = (): never => {
      throw new Error('by the app')
    }
    const told: string[] = []
    await using reactor = new Reactor({
      // A reporting hook may fail, too.
      onError: (_error, { hook }) => {
        told.push(hook)
        throw new Error('by onError')
      },
    })
    const { error: before } = console
    console.error = () => {}
    try {
      const streams = ['data', 'timeout', 'closing'] as const
      const duplex = await reactor.listen(listenHere, {
        open(conn) {
          const stream = conn.toDuplex()
          stream.setTimeout(30)
          stream.on('error', () => {})
          stream.on(streams[opened++]!, boom)
          stream.resume()
        },
        message() {},
      })
      let opened = 0
      const clients = []
      for (const _ of streams) clients.push(await Client.connect(duplex.port))
      clients[0]!.write('data')
      await clients[0]!.untilClosed()
      await clients[1]!.untilClosed()
      expect(told).to.deep.equal(['stream', 'stream'])
      const failing: Record<string, (res: HttpResponse) => unknown> = {
        '/throw': boom,
        '/reject': () => Promise.reject(new Error('by the app')),
        '/header': (res) => res.setHeader('a b', 'c'),
        '/length': (res) => res.setHeader('Content-Length', 'x'),
        '/status': (res) => res.status(7).end(),
        '/data': (res) => res.end(7 as never),
      }
      const http = await reactor.listen(
        listenHere,
        httpApp({
          request: (req, res) => (req.path === '/ok' ? res.end('ok') : failing[req.path]!(res)),
          error: boom,
          websocket: { open: boom, message() {}, close: boom },
        }),
      )
      for (const path of Object.keys(failing)) {
        const response = await fetch(`http://127.0.0.1:${http.port}${path}`)
        expect(response.status, path).to.equal(500)
      }
      const socket = await Client.connect(http.port)
      socket.write(handshake())
      await socket.untilClosed()
      const bodies: Record<
        string,
        { start?: () => void; pull?: (to: ReadableStreamDefaultController) => void; cancel?: () => void }
      > = {
        '/start': { start: boom },
        '/pull': { pull: boom },
        '/later': {
          pull(controller) {
            if (pulled++ === 0) controller.enqueue(Buffer.from('begun'))
            else throw new Error('by pull')
          },
          cancel: boom,
        },
        '/cancel': { pull: (controller) => controller.enqueue(Buffer.alloc(10)), cancel: boom },
      }
      let pulled = 0
      const fetches = await reactor.listen(
        listenHere,
        httpApp({ fetch: ({ url }) => new Response(new ReadableStream(bodies[new URL(url).pathname])) }),
      )
      for (const path of Object.keys(bodies)) {
        const client = await Client.connect(fetches.port)
        client.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
        if (path === '/cancel') await client.bytes(1)
        else await client.untilClosed()
        client.destroy()
      }
      expect(await (await fetch(`http://127.0.0.1:${http.port}/ok`)).text()).to.equal('ok')
      const certificate = {
        cert: readFileSync(new URL('../../existing/certificates/first.pem', import.meta.url)),
        key: readFileSync(new URL('../../existing/certificates/first-key.pem', import.meta.url)),
      }
      const reject = () => Promise.reject(new Error('by SNICallback')) as never
      for (const SNICallback of [boom, reject]) {
        const secure = await reactor.listen({ ...listenHere, tls: { ...certificate, SNICallback } }, { message() {} })
        const peer = connectTls({ port: secure.port, host: '127.0.0.1', servername: 'a.example', rejectUnauthorized: false })
        const [error] = await once(peer, 'error').catch((failure: Error) => [failure])
        expect(error).to.be.instanceOf(Error)
      }
      // The third stream hears that the reactor closes, and throws.
      const closing = reactor.close({ timeoutMs: 1_000 })
      clients[2]!.destroy()
      await closing
    } finally {
      console.error = before
    }
  })

  it('of the main thread: listeners of a server and its logger end nothing', async () => {
    const logged: string[] = []
    const failing = (): never => {
      throw new Error('by the main thread')
    }
    await using server = await serve({
      app: app('killed'),
      listen: listenHere,
      reactors: 1,
      pool: 1,
      logger: { debug() {}, info() {}, warn: failing, error: (message) => void logged.push(message) },
    })
    const { port } = server.listeners[0]!
    server.on('reactorReplaced', failing)
    server.on('workerReplaced', () => Promise.reject(new Error('by the main thread')) as never)
    for (const line of ['exit', 'pool exit']) {
      const client = await Client.connect(port)
      client.write(`${line}\n`)
      await client.untilClosed()
    }
    const client = await Client.connect(port)
    client.write('here\npool here\n')
    expect(await client.lines(2)).to.deep.equal(['here', 'pool here'])
    client.destroy()
    expect(logged.join('\n')).to.include("a listener of 'reactorReplaced' failed").and.include('by the main thread')
    expect(logged.join('\n')).to.include("a listener of 'workerReplaced' failed")
  })
})

const listenHere = { port: 0, host: '127.0.0.1' }
