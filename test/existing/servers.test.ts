import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import tls from 'node:tls'
import { readFileSync } from 'node:fs'
import { createAdaptorServer } from '@hono/node-server'
import { attach, Reactor, type ExistingServer } from '@multireactor/reactor'
import { Aedes } from 'aedes'
import { expect } from 'chai'
import express from 'express'
import { fastify } from 'fastify'
import { Hono } from 'hono'
import mqtt from 'mqtt'
import { WebSocket, WebSocketServer } from 'ws'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('existing servers on a reactor', () => {
  let before: ReturnType<typeof census>
  let reactor: Reactor
  beforeEach(() => {
    before = census()
    reactor = new Reactor()
  })
  afterEach(async () => {
    await reactor[Symbol.asyncDispose]()
    // A reactor that is closed from within its turn ends with the turn.
    await new Promise((resolve) => setImmediate(resolve))
    expectNothingLeft(before)
  })
  const listen = async (server: ExistingServer): Promise<number> =>
    (await reactor.listen({ port: 0, host: '127.0.0.1' }, attach(server))).port

  /** A request on a connection of its own. */
  async function ask(port: number, path: string, body?: string): Promise<{ status: number; text: string }> {
    const headers = { 'content-type': 'application/json' }
    const request = http.request({ port, host: '127.0.0.1', path, agent: false, headers, method: body ? 'POST' : 'GET' })
    request.end(body)
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    return { status: response.statusCode!, text: Buffer.concat(await response.toArray()).toString() }
  }

  it('express 5', async () => {
    const app = express()
    app.set('env', 'test') // it prints the errors of requests otherwise
    app.use(express.json())
    app.get('/ip', (request, response) => void response.send(`${request.ip} ${request.protocol}`))
    app.post('/sum', (request, response) => void response.json((request.body as number[]).reduce((sum, one) => sum + one)))
    const port = await listen(http.createServer(app))
    expect(await ask(port, '/ip')).to.deep.equal({ status: 200, text: '127.0.0.1 http' })
    expect(await ask(port, '/sum', '[1,2,3]')).to.deep.equal({ status: 200, text: '6' })
    expect((await ask(port, '/sum', '[1,')).status).to.equal(400)
  })

  it('fastify 5', async () => {
    const app = fastify()
    app.get('/ip', (request) => ({ ip: request.ip }))
    app.post('/sum', (request) => (request.body as number[]).reduce((sum, one) => sum + one).toString())
    await app.ready()
    const port = await listen(app.server)
    expect(await ask(port, '/ip')).to.deep.equal({ status: 200, text: '{"ip":"127.0.0.1"}' })
    expect(await ask(port, '/sum', '[1,2,3]')).to.deep.equal({ status: 200, text: '6' })
    expect((await ask(port, '/nowhere')).status).to.equal(404)
    await app.close()
  })

  it("Hono's node server, streaming", async () => {
    const app = new Hono()
    app.get('/words', (c) => {
      const words = ['one ', 'two ', 'three']
      return c.body(
        new ReadableStream({
          pull(controller) {
            const word = words.shift()
            if (word === undefined) controller.close()
            else controller.enqueue(Buffer.from(word))
          },
        }),
      )
    })
    app.post('/echo', async (c) => c.text(await c.req.text()))
    // The classes of this process belong to other tests, too.
    const port = await listen(createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as http.Server)
    expect(await ask(port, '/words')).to.deep.equal({ status: 200, text: 'one two three' })
    const long = 'x'.repeat(300_000)
    expect((await ask(port, '/echo', long)).text === long).to.equal(true)
  })

  it('ws 8, beside HTTP on the same port', async () => {
    const server = http.createServer((_request, response) => void response.end('plain'))
    const sockets = new WebSocketServer({ server })
    const from: unknown[] = []
    sockets.on('connection', (socket, request) => {
      from.push(request.socket.remoteAddress)
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
    })
    const port = await listen(server)
    expect((await ask(port, '/')).text).to.equal('plain')
    const client = new WebSocket(`ws://127.0.0.1:${port}`)
    await once(client, 'open')
    for (const size of [0, 1, 125, 126, 70_000, 1 << 20]) {
      const sent = Buffer.alloc(size, 'ws')
      client.send(sent)
      const [got] = (await once(client, 'message')) as [Buffer]
      expect(got.equals(sent)).to.equal(true)
    }
    client.ping()
    await once(client, 'pong')
    client.close(4000, 'enough')
    expect((await once(client, 'close'))[0]).to.equal(4000)
    expect(from).to.deep.equal(['127.0.0.1'])
    sockets.close()
  })

  it('aedes 1', async () => {
    const broker = await Aedes.createBroker()
    const port = await listen(net.createServer(broker.handle))
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`)
    await client.subscribeAsync('a/+', { qos: 2 })
    const heard = new Promise((resolve) => client.on('message', (topic, payload) => resolve([topic, payload.toString()])))
    await client.publishAsync('a/b', 'hello', { qos: 2 })
    expect(await heard).to.deep.equal(['a/b', 'hello'])
    await client.endAsync()
    await new Promise<void>((resolve) => broker.close(() => resolve()))
  })

  it('tls.Server, which sees the addresses of the peer', async () => {
    const pem = (name: string) => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))
    const port = await listen(
      tls.createServer({ cert: pem('first'), key: pem('first-key'), ALPNProtocols: ['x'] }, (socket) => {
        socket.end(`${socket.remoteAddress} ${socket.localPort} ${String(socket.alpnProtocol)}`)
      }),
    )
    const client = tls.connect({ port, host: '127.0.0.1', ca: pem('ca'), servername: 'first.example', ALPNProtocols: ['x'] })
    expect(Buffer.concat(await client.toArray()).toString()).to.equal(`127.0.0.1 ${port} x`)
  })
})
