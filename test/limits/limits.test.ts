import { once } from 'node:events'
import { connect } from 'node:net'
import { setEnvironmentData } from 'node:worker_threads'
import { expect } from 'chai'
import { type CloseReason, type Server, serve, type ServeOptions } from '@multireactor/core'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

/** The limit that a test is about; all others are a minute. See fixtures/hasty.ts. */
const only = (limits?: object) => setEnvironmentData('hasty', limits as never)

describe('a limit', () => {
  let server: Server
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    only()
    await server.close({ timeoutMs: 300 })
    expectNothingLeft(before)
  })

  async function start(name: string, options: Partial<ServeOptions> = {}): Promise<number> {
    const silent = { debug() {}, info() {}, warn() {}, error() {} }
    server = await serve({ app: app(name), listen: 0, reactors: 1, pool: 0, logger: silent, ...options })
    return server.listeners[0]!.port
  }
  const closed = (reason: CloseReason) => server.stats().connections.closed[reason]
  async function until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise((resolve) => setImmediate(resolve))
  }

  describe('of time', () => {
    it('cuts who never says anything, and nobody who does', async () => {
      only({ firstByteTimeoutMs: 300 })
      const port = await start('hasty')
      const talker = await Client.connect(port)
      talker.write('a\n')
      await talker.lines(1)
      const silent = await Client.connect(port)
      await silent.untilClosed()
      expect(closed('first-byte-timeout')).to.equal(1)
      talker.write('b\n')
      expect(await talker.lines(2)).to.deep.equal(['a', 'b'])
      talker.destroy()
    })

    it('cuts who dribbles a frame (slowloris), however busily', async () => {
      only({ frameTimeoutMs: 200 })
      const port = await start('hasty')
      const dribbler = await Client.connect(port)
      const began = performance.now()
      const timer = setInterval(() => dribbler.write('x'), 20)
      await dribbler.untilClosed()
      clearInterval(timer)
      // A limit that the dribble moved would never be reached.
      expect(closed('frame-timeout')).to.equal(1)
      expect(performance.now() - began).to.be.at.least(195)
    })

    it('cuts who is idle', async () => {
      only({ idleTimeoutMs: 300 })
      const port = await start('hasty')
      const client = await Client.connect(port)
      client.write('a\n')
      await client.untilClosed()
      expect(client.received.toString()).to.equal('a\n')
      expect(closed('idle-timeout')).to.equal(1)
    })

    it('cuts who takes nothing of what waits for it', async () => {
      only({ writeTimeoutMs: 300 })
      const port = await start('hasty')
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      socket.pause()
      socket.write('flood\n')
      await until(() => closed('write-timeout') === 1)
      socket.destroy()
    })

    it('does not count the time that the pool takes', async () => {
      const port = await start('slow', { pool: 1 })
      const client = await Client.connect(port)
      client.write('100\n')
      expect(await client.lines(1)).to.deep.equal(['done 100'])
      client.destroy()
    })
  })

  describe('of connections', () => {
    it('holds for the process, exactly, over all reactors', async () => {
      const port = await start('echo', { reactors: 3, limits: { connections: 10 } })
      const clients = await Promise.all(Array.from({ length: 30 }, () => Client.connect(port)))
      await until(() => closed('connection-limit') === 20)
      expect(server.stats().connections.open).to.equal(10)
      await until(() => clients.filter((client) => client.closed).length === 20)
      // Room again: the next one is served.
      const open = clients.filter((client) => !client.closed)
      for (const client of open) client.destroy()
      await until(() => server.stats().connections.open === 0)
      const next = await Client.connect(port)
      next.write('hi')
      expect((await next.bytes(2)).toString()).to.equal('hi')
      next.destroy()
    })

    it('holds for one remote address', async () => {
      const port = await start('echo', { reactors: 2, limits: { connectionsPerAddress: 4 } })
      const from = async (localAddress: string) => {
        const socket = connect({ port, host: '127.0.0.1', localAddress })
        await once(socket, 'connect')
        return new Client(socket)
      }
      const one = await Promise.all(Array.from({ length: 6 }, () => from('127.0.0.1')))
      const two = await Promise.all(Array.from({ length: 4 }, () => from('127.0.0.2')))
      await until(() => closed('address-limit') === 2 && server.stats().connections.accepted === 10)
      expect(server.stats().connections.open).to.equal(8)
      for (const client of two) client.write('hi')
      await Promise.all(two.map((client) => client.bytes(2)))
      for (const client of [...one, ...two]) client.destroy()
    })

    it('holds for the rate of accepts: the rest waits in the kernel', async () => {
      const port = await start('echo', { limits: { acceptsPerSecond: 20 } })
      const began = performance.now()
      const clients = await Promise.all(Array.from({ length: 30 }, () => Client.connect(port)))
      for (const client of clients) client.write('x')
      await Promise.all(clients.map((client) => client.bytes(1)))
      // A second's worth at once, ten more at 20 a second.
      expect(performance.now() - began).to.be.at.least(400)
      expect(server.stats().reactors[0]!.acceptsDelayed).to.be.greaterThan(0)
      for (const client of clients) client.destroy()
    })
  })

  it('of memory closes the connection that holds most, and leaves the others', async () => {
    const port = await start('hasty', { limits: { memory: 4 << 20 } })
    const polite = await Client.connect(port)
    polite.write('a\n')
    await polite.lines(1)
    const glutton = connect(port, '127.0.0.1')
    await once(glutton, 'connect')
    glutton.pause()
    glutton.write('flood\n')
    await until(() => closed('memory-limit') === 1)
    polite.write('b\n')
    expect(await polite.lines(2)).to.deep.equal(['a', 'b'])
    polite.destroy()
    glutton.destroy()
  })

  describe('of the queue', () => {
    const pool = { size: 1, concurrency: 1, maxQueued: 8 }
    const many = (count: number) => `200\n${Array.from({ length: count }, (_, i) => `0 ${i}\n`).join('')}`

    it('pauses reading by default, and nothing is refused', async () => {
      const port = await start('slow', { pool })
      const client = await Client.connect(port)
      client.write(many(200))
      expect(await client.lines(201)).to.have.length(201)
      expect(server.stats().reactors[0]!.pausesByQueue).to.be.greaterThan(0)
      client.destroy()
    })

    it("'reject': the app answers in its own words, in order", async () => {
      const port = await start('slow-polite', { pool: { ...pool, onQueueFull: 'reject' } })
      const shed = once(server as never, 'shed') as Promise<[{ frames: number }]>
      const client = await Client.connect(port)
      client.write(many(200))
      const lines = await client.lines(201)
      const numbers = lines.slice(1).map((line) => Number(line.split(' ').at(-1)))
      expect(numbers).to.deep.equal(Array.from({ length: 200 }, (_, i) => i))
      const refused = lines.filter((line) => line.startsWith('busy')).length
      expect(refused).to.be.greaterThan(0)
      expect((await shed)[0].frames).to.equal(refused)
      client.destroy()
    })

    it("'reject' without an overloaded hook, and 'close', close the connection and count the frames", async () => {
      for (const onQueueFull of ['reject', 'close'] as const) {
        const port = await start('slow', { pool: { ...pool, onQueueFull } })
        const client = await Client.connect(port)
        client.write(many(200))
        await client.untilClosed()
        expect(closed('overloaded')).to.equal(1)
        expect(server.stats().reactors[0]!.framesShed).to.be.greaterThan(0)
        if (onQueueFull === 'reject') await server.close({ timeoutMs: 300 })
      }
    })

    it('of waiting: who waited longer than maxWaitMs is refused, and the rest is worked on', async () => {
      const port = await start('slow-polite', { pool: { size: 1, concurrency: 1, maxWaitMs: 400 } })
      const client = await Client.connect(port)
      client.write('1200\n')
      await until(() => server.stats().workers[0]!.framesStarted > 0 || server.stats().queue.frames === 0)
      const other = await Client.connect(port)
      other.write('0 late\n')
      expect(await client.lines(1)).to.deep.equal(['done 1200'])
      expect(await other.lines(1)).to.deep.equal(['busy 0 late'])
      other.write('0 later\n')
      expect((await other.lines(2))[1]).to.equal('done 0 later')
      client.destroy()
      other.destroy()
    })
  })
})

describe('PROXY protocol', () => {
  let server: Server | undefined
  afterEach(async () => {
    only()
    await server?.close({ timeoutMs: 300 })
    server = undefined
  })

  async function start(from: string[], extra: object = {}): Promise<number> {
    server = await serve({
      app: app('hasty'),
      listen: { port: 0, proxyProtocol: { from }, ...extra },
      reactors: 1,
      pool: 0,
      limits: { connectionsPerAddress: 2 },
    })
    return server.listeners[0]!.port
  }

  it('v1: hooks and limits see the real address', async () => {
    const port = await start(['127.0.0.0/8'])
    const clients: Client[] = []
    for (let i = 0; i < 3; i++) {
      const client = await Client.connect(port)
      client.write(`PROXY TCP4 192.0.2.${i < 2 ? 1 : 2} 198.51.100.1 56324 443\r\nwho\n`)
      expect(await client.lines(1)).to.deep.equal([`IPv4 192.0.2.${i < 2 ? 1 : 2} 56324`])
      clients.push(client)
    }
    const third = await Client.connect(port)
    third.write('PROXY TCP4 192.0.2.1 198.51.100.1 56325 443\r\nwho\n')
    await third.untilClosed()
    expect(server!.stats().connections.closed['address-limit']).to.equal(1)
    for (const client of clients) client.destroy()
  })

  it('v2: in any fragmentation', async () => {
    const port = await start(['127.0.0.1', '::1'])
    const header = Buffer.from('0d0a0d0a000d0a515549540a211100 0ccb007107c6336401 1f90 01bb'.replaceAll(' ', ''), 'hex')
    for (let split = 1; split < header.length; split += 5) {
      const client = await Client.connect(port)
      client.socket.setNoDelay(true)
      client.write(header.subarray(0, split))
      await new Promise((resolve) => setImmediate(resolve))
      client.write(Buffer.concat([header.subarray(split), Buffer.from('who\n')]))
      expect(await client.lines(1)).to.deep.equal(['IPv4 203.0.113.7 8080'])
      client.destroy()
      while (server!.stats().connections.open > 0) await new Promise((resolve) => setImmediate(resolve))
    }
  })

  it('UNKNOWN keeps the address of the socket', async () => {
    const port = await start(['127.0.0.1'])
    const client = await Client.connect(port)
    client.write('PROXY UNKNOWN\r\nwho\n')
    expect(await client.lines(1)).to.deep.equal([`IPv6 ::ffff:127.0.0.1 ${client.socket.localPort}`])
    client.destroy()
  })

  it('closes who sends no header, a wrong one, none in time, or comes from elsewhere', async () => {
    const port = await start(['127.0.0.1'])
    for (const bytes of ['who\n', 'PROXY TCP4 1.2.3.4\r\nwho\n', '\r\n\r\nxxxx']) {
      const client = await Client.connect(port)
      client.write(bytes)
      await client.untilClosed()
      expect(client.received.length).to.equal(0)
    }
    expect(server!.stats().connections.closed['proxy-header']).to.equal(3)
    await server!.close()
    only({ firstByteTimeoutMs: 150 })
    const slow = await Client.connect(await start(['127.0.0.1']))
    slow.write('PROXY TCP4')
    await slow.untilClosed()
    expect(server!.stats().connections.closed['first-byte-timeout']).to.equal(1)
    await server!.close()
    const other = await Client.connect(await start(['10.0.0.0/8']))
    other.write('PROXY UNKNOWN\r\nwho\n')
    await other.untilClosed()
    expect(server!.stats().connections.closed['proxy-header']).to.equal(1)
  })

  it('refuses what is no address or range, with the value', async () => {
    const error = await start(['127.0.0.1', '10.0.0.1/8']).then(
      () => undefined,
      (reason: Error) => reason,
    )
    expect(error).to.have.property('code', 'ERR_MR_OPTION_RANGE')
    expect(error!.message).to.include('"10.0.0.1/8"')
  })
})
