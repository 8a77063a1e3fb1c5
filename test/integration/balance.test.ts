import { once } from 'node:events'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { type Server, type ServeOptions, serve } from '@multireactor/core'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('which reactor gets a connection', function () {
  this.timeout(120_000)
  let server: Server
  let clients: Client[]
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
    clients = []
  })
  afterEach(async () => {
    for (const client of clients) client.destroy()
    await server.close({ timeoutMs: 500 })
    expectNothingLeft(before)
  })

  const start = async (options: Partial<ServeOptions>, name = 'balanced') => {
    server = await serve({ app: app(name), listen: { port: 0, host: '127.0.0.1' }, reactors: 4, pool: 1, ...options })
  }
  const opens = () => server.stats().reactors.map(({ open }) => open)
  const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0)
  const spread = () => Math.max(...opens()) - Math.min(...opens())
  const untilOpen = async (count: number) => {
    while (sum(opens()) !== count) await new Promise((resolve) => setImmediate(resolve))
  }
  /** A client from an address of its own: all of 127.0.0.0/8 is loopback. */
  const from = async (localAddress = '127.0.0.1', where: { port?: number; path?: string } = {}) => {
    const { port, address } = server.listeners[0]!
    const target = where.path === undefined ? { port, host: address, localAddress, ...where } : { path: where.path }
    const socket = net.connect(target)
    await once(socket, 'connect')
    const client = new Client(socket)
    clients.push(client)
    return client
  }
  /** The reactor where it was born, as the pool sees its id. */
  const reactorOf = async (client: Client, header = '') => {
    client.write(`${header}hello\n`)
    const [reactor, address, word] = (await client.lines(1))[0]!.split(' ')
    expect(word).to.equal('hello')
    return { reactor: Number(reactor), address }
  }

  it('least-connections: 2 to 50 on four reactors differ by one at most, and closed ones make room', async () => {
    await start({ balance: 'least-connections' })
    for (const count of [2, 3, 4, 7, 15, 32, 50]) {
      await Promise.all(Array.from({ length: count - clients.length }, () => from()))
      await untilOpen(count)
      expect(spread(), `of ${opens().join()}`).to.be.at.most(1)
    }
    const born = await Promise.all(clients.map((client) => reactorOf(client)))
    for (const index of [0, 1, 2, 3]) {
      expect(born.filter(({ reactor }) => reactor === index)).to.have.lengthOf(opens()[index]!)
    }
    // All connections of one reactor go: the next ones fill it up again.
    const gone = clients.filter((_, i) => born[i]!.reactor === 2)
    for (const client of gone) client.destroy()
    await untilOpen(50 - gone.length)
    await Promise.all(gone.map(() => from()))
    await untilOpen(50)
    expect(spread(), `of ${opens().join()}`).to.be.at.most(1)
  })

  it('least-connections: a Unix path and a port share the reactors, and a listener may have its own policy', async () => {
    const path = join(tmpdir(), `mr-balance-${process.pid}.sock`)
    await start({
      listen: [
        { port: 0, host: '127.0.0.1' },
        { path, balance: 'least-connections' },
      ],
      balance: 'least-connections',
    })
    await Promise.all(Array.from({ length: 9 }, () => from()))
    await Promise.all(Array.from({ length: 9 }, () => from('', { path })))
    await untilOpen(18)
    expect(spread(), `of ${opens().join()}`).to.be.at.most(1)
    for (const client of clients) await reactorOf(client)
  })

  it('address: connections of one address meet at one reactor', async () => {
    await start({ balance: 'address' })
    const reactors = new Set<number>()
    for (let host = 1; host <= 16; host++) {
      const born = await Promise.all([1, 2, 3].map(async () => reactorOf(await from(`127.0.1.${host}`))))
      expect(new Set(born.map(({ reactor }) => reactor)).size, `127.0.1.${host}`).to.equal(1)
      reactors.add(born[0]!.reactor)
    }
    expect(reactors.size).to.equal(4)
  })

  it('address: decided by the PROXY header, also when the set of reactors has changed and come back', async () => {
    await start({ balance: 'address', listen: { port: 0, host: '127.0.0.1', proxyProtocol: { from: ['127.0.0.0/8'] } } })
    const where = async (host: number) => {
      const { reactor, address } = await reactorOf(await from(), `PROXY TCP4 10.9.0.${host} 10.0.0.1 4711 7000\r\n`)
      expect(address).to.equal(`10.9.0.${host}`)
      return reactor
    }
    const hosts = Array.from({ length: 20 }, (_, i) => i + 1)
    const four = await Promise.all(hosts.map(where))
    expect(new Set(four).size).to.equal(4)
    expect(await Promise.all(hosts.map(where))).to.deep.equal(four)
    await server.resize({ reactors: 3 })
    const three = await Promise.all(hosts.map(where))
    // Only those of the reactor that went have another one.
    for (const [i, reactor] of three.entries()) if (four[i] !== 3) expect(reactor).to.equal(four[i])
    await server.resize({ reactors: 4 })
    expect(await Promise.all(hosts.map(where))).to.deep.equal(four)
    expect(server.stats().connections.accepted).to.equal(clients.length)
  })

  it('no connection is lost while reactors come and go', async () => {
    await start({ balance: 'least-connections', reactors: 2 })
    let going = true
    let served = 0
    const visits = Array.from({ length: 8 }, async () => {
      while (going) {
        const client = await from()
        await reactorOf(client)
        clients.splice(clients.indexOf(client), 1)
        client.socket.end()
        await client.untilClosed()
        expect(client.error).to.equal(undefined)
        served++
      }
    })
    for (const reactors of [4, 3, 4]) {
      const seen = served
      await server.resize({ reactors })
      while (served < seen + 50) await new Promise((resolve) => setImmediate(resolve))
    }
    going = false
    await Promise.all(visits)
    await untilOpen(0)
  })

  it('the hook of the app says which, and knows whom it is asked about', async () => {
    await start({ reactors: 3 }, 'balancing')
    for (const index of [0, 1, 2, 1]) {
      expect(await reactorOf(await from(`127.0.3.${index}`))).to.deep.equal({ reactor: index, address: `127.0.3.${index}` })
    }
    const told = new Promise<Error>((resolve) => server.once('error', resolve))
    const client = await from('127.0.3.16')
    const error = await told
    const { peer, context } = JSON.parse(error.message) as {
      peer: { address: string; port: number; family: string }
      context: { listener: string; local: number; reactors: { index: number; connections: number }[] }
    }
    expect(peer).to.deep.equal({ address: '127.0.3.16', port: client.socket.localPort, family: 'IPv4' })
    expect(context.listener).to.equal(server.listeners[0]!.name)
    expect(context.reactors.map(({ index }) => index)).to.deep.equal([0, 1, 2])
    // The one that is being asked about is counted where it was accepted.
    expect(sum(context.reactors.map(({ connections }) => connections))).to.equal(5)
    expect((await reactorOf(client)).reactor).to.equal(context.local)
  })

  it('a hook that throws, or answers with what is no reactor, is reported, and the connection stays and is served', async () => {
    await start({ reactors: 2 }, 'balancing')
    const seen: { code: unknown; message: string; hook: string; listener: string }[] = []
    server.on('error', (error, { hook, listener }) => {
      seen.push({ code: (error as { code?: unknown }).code, message: error.message, hook, listener })
    })
    for (const last of [10, 11, 12, 13, 14]) {
      const client = await from(`127.0.3.${last}`)
      expect((await reactorOf(client)).reactor).to.be.oneOf([0, 1])
    }
    expect(seen.map(({ code }) => code)).to.deep.equal([undefined, ...Array.from({ length: 4 }, () => 'ERR_MR_BALANCE')])
    expect(seen.map(({ message }) => message.replace(/.*returned /, '').replace(/;.*/, ''))).to.deep.equal([
      'no idea',
      '99',
      '"first"',
      'an object (Promise)',
      '-1',
    ])
    for (const { hook, listener } of seen) expect([hook, listener]).to.deep.equal(['balance', server.listeners[0]!.name])
  })

  it('a thread that ends in the hook takes that one connection along, and the next one is asked', async () => {
    await start({ reactors: 2 }, 'balancing')
    const staying = await from('127.0.3.1')
    await reactorOf(staying)
    const replaced = new Promise((resolve) => server.once('reactorReplaced', resolve))
    const client = await from('127.0.3.17')
    await client.untilClosed()
    await replaced
    expect((await reactorOf(await from('127.0.3.0'))).reactor).to.equal(0)
    staying.write('again\n')
    await staying.lines(2)
  })

  it('a policy given to serve() comes before the hook of the app', async () => {
    await start({ reactors: 2, balance: 'least-connections' }, 'balancing')
    for (let i = 0; i < 6; i++) await from('127.0.3.1')
    await untilOpen(6)
    expect(opens()).to.deep.equal([3, 3])
  })

  it('the hook does not put other hooks of the app on the reactor', async () => {
    await start({ reactors: 1 }, 'balancing')
    const client = await from('127.0.3.0')
    await reactorOf(client)
    // A frame of a parse app reaches the pool from native code: none is delivered to a hook.
    const { framesRead, framesSubmitted } = server.stats().reactors[0]!
    expect([framesRead, framesSubmitted]).to.deep.equal([1, 1])
  })
})
