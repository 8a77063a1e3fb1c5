import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'
import { serve, type Server } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const pem = (name: string): Buffer => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))

/** Servers whose connections live in their thread. */
const kinds = [
  { name: 'attach', module: 'bound-existing', secure: false, tls: false },
  { name: 'attach behind a TLS listener', module: 'bound-existing', secure: true, tls: true },
  { name: 'an attached https server', module: 'bound-https', secure: true, tls: false },
  { name: 'httpApp behind a TLS listener', module: 'bound-app', secure: true, tls: true },
]

interface Answer {
  body: string
  connection: string | undefined
  reused: boolean
}

describe('a reload of servers whose connections live in their thread', function () {
  // Threads start slowly where others need the cores.
  this.timeout(120_000)
  let before: ReturnType<typeof census>
  let server: Server | undefined
  const agents: http.Agent[] = []
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    for (const agent of agents.splice(0)) agent.destroy()
    if (server && (await server[Symbol.asyncDispose]()) === undefined) server = undefined
    expectNothingLeft(before)
  })

  for (const { name, module, secure, tls: listensTls } of kinds) {
    const start = async (): Promise<number> => {
      const listen = { port: 0, host: '127.0.0.1', ...(listensTls ? { tls: { cert: pem('first'), key: pem('first-key') } } : {}) }
      server = await serve({ app: app(module), listen, reactors: 1 })
      return server.listeners[0]!.port
    }
    const client = (): http.Agent => {
      const options = { keepAlive: true, maxSockets: 1 }
      const agent = secure ? new https.Agent({ ...options, ca: pem('ca'), servername: 'first.example' }) : new http.Agent(options)
      agents.push(agent)
      return agent
    }
    const get = (port: number, agent: http.Agent | false): Promise<Answer> =>
      new Promise((resolve, reject) => {
        const options = { port, host: '127.0.0.1', agent, ...(secure ? { ca: pem('ca'), servername: 'first.example' } : {}) }
        const request = (secure ? https : http).get(options, (response) => {
          let body = ''
          response.setEncoding('latin1').on('data', (part) => {
            body += part
          })
          response.on('error', reject)
          response.on('end', () => resolve({ body, connection: response.headers.connection, reused: request.reusedSocket }))
        })
        request.on('error', reject)
      })
    /** Until the old thread is about to leave: then its answers are the last ones of their connections. */
    const untilLast = async (port: number): Promise<void> => {
      const asks = client()
      while ((await get(port, asks)).connection !== 'close');
    }

    it(`${name}: idle connections stay, and hear of it with their next answer`, async () => {
      const port = await start()
      const idle = [client(), client()]
      const { body: old } = (await Promise.all(idle.map((agent) => get(port, agent))))[0]!
      const reloaded = server!.reload({ timeoutMs: 100_000 })
      await untilLast(port)
      // There is no other thread for them while these stay.
      expect(await get(port, false)).to.deep.include({ body: old, connection: 'close' })
      for (const agent of idle) expect(await get(port, agent)).to.deep.equal({ body: old, connection: 'close', reused: true })
      await reloaded
      expect((await get(port, false)).body).to.not.equal(old)
    })

    it(`${name}: no request of clients that keep asking is lost`, async () => {
      const port = await start()
      const idle = client()
      const { body: old } = await get(port, idle)
      let done = false
      const asking = Array.from({ length: 8 }, async () => {
        const agent = client()
        let asked = 0
        for (; !done; asked++) await get(port, agent)
        return asked
      })
      const reloaded = server!.reload({ timeoutMs: 2_000 })
      await Promise.race([reloaded, ...asking])
      await reloaded
      done = true
      for (const asked of await Promise.all(asking)) expect(asked).to.be.above(0)
      expect((await get(port, false)).body).to.not.equal(old)
      expect(server!.stats().connections.closed['thread-lost']).to.equal(0)
    })

    it(`${name}: who stays idle is ended with the time of the reload`, async () => {
      const port = await start()
      const idle = client()
      const { body: old } = await get(port, idle)
      const [socket] = Object.values(idle.freeSockets)[0]!
      const closed = once(socket!, 'close')
      await server!.reload({ timeoutMs: 400 })
      await closed
      expect((await get(port, false)).body).to.not.equal(old)
    })

    it(`${name}: a request with its end behind it is answered while the thread leaves`, async () => {
      const port = await start()
      const idle = client()
      const { body: old } = await get(port, idle)
      const clients = await Promise.all(
        Array.from({ length: 10 }, async () => {
          const options = { port, host: '127.0.0.1', allowHalfOpen: true }
          const socket: net.Socket = secure
            ? tls.connect({ ...options, ca: pem('ca'), servername: 'first.example' } as tls.ConnectionOptions)
            : net.connect(options)
          await once(socket, secure ? 'secureConnect' : 'connect')
          socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
          await once(socket, 'data')
          return socket
        }),
      )
      const reloaded = server!.reload({ timeoutMs: 100_000 })
      await untilLast(port)
      const answers = clients.map(async (socket) => {
        socket.end('GET /large HTTP/1.1\r\nHost: x\r\n\r\n')
        let all = ''
        for await (const part of socket.setEncoding('latin1')) all += part as string
        return [all.split('\r\n\r\n')[1]!.length, /connection: close/i.test(all)]
      })
      expect(await Promise.all(answers)).to.deep.equal(Array(10).fill([1 << 20, true]))
      expect((await get(port, idle)).body).to.equal(old)
      await reloaded
      expect(server!.stats().connections.closed['thread-lost']).to.equal(0)
    })
  }

  it('an upgraded connection that came while the thread leaves is told before the end', async () => {
    server = await serve({ app: app('bound-upgrade'), listen: { port: 0, host: '127.0.0.1' }, reactors: 1 })
    const { port } = server.listeners[0]!
    const connect = async (): Promise<net.Socket> => {
      const socket = net.connect(port, '127.0.0.1').setEncoding('latin1')
      await once(socket, 'connect')
      return socket
    }
    const idle = await connect()
    idle.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(idle, 'data')
    const reloaded = server.reload({ timeoutMs: 4_000 })
    const asks = await connect()
    const last = once(asks, 'end')
    asks.on('data', (part: string) => /connection: close/i.test(part) || asks.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'))
    asks.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await last
    asks.destroy()
    const upgraded = await connect()
    upgraded.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n')
    let all = ''
    for await (const part of upgraded) all += part as string
    expect(all).to.match(/^HTTP\/1.1 101 .*bye$/s)
    await reloaded
    expect(server.stats().connections.closed['thread-lost']).to.equal(0)
    idle.destroy()
  })
})
