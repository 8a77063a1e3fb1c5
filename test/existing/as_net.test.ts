import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { attach, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'
import { connectTo, onBoth, readAll } from './sides.js'

const connectionsOf = (server: net.Server): Promise<number> =>
  new Promise((resolve, reject) => server.getConnections((error, count) => (error ? reject(error) : resolve(count))))

describe('an attached server', () => {
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(() => expectNothingLeft(before))

  it('ends connections that nobody reads: refused upgrades leave none, and close() ends', async () => {
    const { net: expected, reactor } = await onBoth(
      () => http.createServer().on('upgrade', (_request, socket) => socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n')),
      async (side, made) => {
        const server = made as unknown as net.Server
        server.maxConnections = 20
        const answers = new Set<string>()
        let ended = 0
        server.on('connection', (socket: net.Socket) => socket.once('close', () => ended++))
        for (let round = 0; round < 10; round++) {
          const clients = await Promise.all(Array.from({ length: 20 }, () => connectTo(side)))
          for (const client of clients)
            client.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
          for (const answer of await Promise.all(clients.map(readAll))) answers.add(answer)
          while (ended < 20 * (round + 1)) await new Promise((resolve) => setImmediate(resolve))
        }
        const left = await connectionsOf(server)
        server.close()
        await once(server, 'close')
        return { left, answers: [...answers] }
      },
    )
    expect(reactor).to.deep.equal(expected)
    expect(reactor.left).to.equal(0)
  })

  it('gives end and close to a server that only writes', async () => {
    const { net: expected, reactor } = await onBoth(
      () => net.createServer(),
      async (side, server) => {
        const arrived = once(server, 'connection') as Promise<[net.Socket]>
        const client = await connectTo(side)
        const [socket] = await arrived
        const seen: string[] = []
        for (const name of ['end', 'finish', 'close']) socket.on(name, () => seen.push(name))
        client.end()
        await once(socket, 'close')
        return seen
      },
    )
    expect(reactor).to.deep.equal(expected)
  })

  it('says the path that it listens on, and that of a connection is empty', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mr-path-'))
    const path = join(folder, 'socket')
    const server = net.createServer()
    const reactor = new Reactor()
    try {
      await reactor.listen({ path }, attach(server))
      expect(server.address()).to.equal(path)
      server.maxConnections = 1
      const arrived = once(server, 'connection') as Promise<[net.Socket]>
      const client = net.connect(path)
      const [socket] = await arrived
      expect([socket.address(), socket.remoteAddress]).to.deep.equal([{}, undefined])
      const dropped = once(server, 'drop')
      const second = net.connect(path)
      expect(await dropped).to.deep.equal([])
      client.destroy()
      second.destroy()
    } finally {
      await reactor.close({ timeoutMs: 0 })
      rmSync(folder, { recursive: true })
    }
  })

  it('lets code behind a proxy say that a connection is encrypted', async () => {
    const { net: expected, reactor } = await onBoth(
      () =>
        http.createServer((request, response) => {
          const socket = request.socket as net.Socket & { encrypted?: boolean }
          const found = [typeof socket.encrypted, 'encrypted' in socket]
          socket.encrypted = true
          response.end(JSON.stringify([...found, socket.encrypted]))
        }),
      async (side) => {
        const client = await connectTo(side)
        client.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        return (await readAll(client)).split('\r\n\r\n')[1]
      },
    )
    expect(reactor).to.equal(expected)
  })

  it("keeps the server's options: what is not read at first, and how much of it", async () => {
    const { net: expected, reactor } = await onBoth(
      () => net.createServer({ pauseOnConnect: true, highWaterMark: 1000 }),
      async (side, server) => {
        const arrived = once(server, 'connection') as Promise<[net.Socket]>
        const client = await connectTo(side)
        const [socket] = await arrived
        const seen = [socket.isPaused(), socket.readableHighWaterMark, socket.writableHighWaterMark]
        client.end('text')
        const heard = readAll(socket)
        socket.resume()
        return [...seen, await heard]
      },
    )
    expect(reactor).to.deep.equal(expected)
  })

  it('can be attached again after its reactor has closed', async () => {
    const server = http.createServer((_request, response) => response.end('here'))
    const answers: (string | undefined)[] = []
    for (let time = 0; time < 2; time++) {
      const reactor = new Reactor()
      const { port } = await reactor.listen({ port: 0, host: '127.0.0.1' }, attach(server))
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      for (let i = 0; i < 2; i++) {
        const [response] = (await once(http.get({ port, host: '127.0.0.1', agent }), 'response')) as [http.IncomingMessage]
        response.resume()
        await once(response, 'end')
        answers.push(response.headers.connection)
      }
      agent.destroy()
      await reactor.close()
    }
    expect(answers).to.deep.equal(Array(4).fill('keep-alive'))
  })

  it('resets a connection with TLS although something of it is being encrypted', async () => {
    const pem = (name: string) => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))
    const reactor = new Reactor()
    const server = net.createServer((socket) =>
      socket.on('data', () => {
        socket.write('x'.repeat(1000))
        socket.resetAndDestroy()
      }),
    )
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1', tls: { cert: pem('first'), key: pem('first-key') } },
      attach(server),
    )
    const client = tls.connect({ port, host: '127.0.0.1', ca: pem('ca'), servername: 'first.example' })
    await once(client, 'secureConnect')
    client.write('text')
    expect(await readAll(client)).to.not.include('x') // a connection that ends in an orderly way sends it
    await reactor.close()
  })
})
