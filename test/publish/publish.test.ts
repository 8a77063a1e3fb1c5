import { Worker } from 'node:worker_threads'
import { type Server, serve, ServerHandle } from '@multireactor/core'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('publish and subscribe', () => {
  let server: Server
  let port: number
  let before: ReturnType<typeof census>
  let clients: Client[] = []

  beforeEach(async () => {
    before = census()
    server = await serve({ app: app('publish'), listen: 0, reactors: 2, pool: 1 })
    port = server.listeners[0]!.port
  })
  afterEach(async () => {
    for (const client of clients) client.destroy()
    clients = []
    await server.close({ timeoutMs: 1_000 }).catch(() => {})
    expectNothingLeft(before)
  })

  /** Says a line and resolves to the line that comes next. */
  async function ask(client: Client, line: string): Promise<string> {
    const count = client.received.toString().split('\n').length - 1
    client.write(`${line}\n`)
    return (await client.lines(count + 1))[count]!
  }
  /** On both reactors, subscribed. */
  async function subscribers(count: number, topic: string): Promise<Client[]> {
    const made: Client[] = []
    for (let i = 0; i < count; i++) {
      const client = await Client.connect(port)
      clients.push(client)
      client.write(`>${i % 2}\n`)
      expect(await ask(client, `+${topic}`)).to.equal('subscribed true')
      made.push(client)
    }
    return made
  }
  const sum = (name: 'subscriptions' | 'publications' | 'publicationsDropped') =>
    server.stats().reactors.reduce((total, reactor) => total + reactor[name], 0)

  it('reaches the subscribers on all reactors from every kind of thread', async () => {
    const [a, b, c] = (await subscribers(3, 'n')) as [Client, Client, Client]
    expect(server.stats().reactors.map(({ subscriptions }) => subscriptions)).to.deep.equal([2, 1])
    expect(await server.publish('n', 'main\n')).to.equal(3)
    for (const client of [a, b, c]) await client.until(({ received }) => received.includes('main\n'))
    // From a reactor and from the pool, over a connection that has not subscribed.
    const d = await Client.connect(port)
    clients.push(d)
    expect(await ask(d, '!n reactor')).to.equal('reached 3')
    expect(await ask(d, '@n pool')).to.equal('reached 3')
    // From a thread of one's own.
    const code = `
      const { workerData, parentPort } = require('node:worker_threads')
      import(workerData.core).then(async ({ ServerHandle }) => {
        const server = ServerHandle.of(workerData.token)
        parentPort.postMessage(await server.publish('n', new TextEncoder().encode('own\\n')))
        server.close()
      })`
    const worker = new Worker(code, {
      eval: true,
      workerData: { token: server.token, core: import.meta.resolve('@multireactor/core') },
    })
    expect(await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))).to.equal(3)
    await worker.terminate()
    for (const client of [a, b, c]) {
      await client.until(({ received }) => received.includes('own\n'))
      expect(client.received.toString()).to.equal('subscribed true\nmain\nreactor\npool\nown\n')
    }
    expect(sum('publications')).to.equal(12)
  })

  it('resolves to 0 without subscribers, and for those who left', async () => {
    expect(await server.publish('n', 'x')).to.equal(0)
    const [a] = (await subscribers(1, 'n')) as [Client]
    expect(await ask(a, '-n')).to.equal('unsubscribed true')
    expect(await ask(a, '-n')).to.equal('unsubscribed false')
    expect(await server.publish('n', 'x\n')).to.equal(0)
    expect(await ask(a, '+n')).to.equal('subscribed true')
    a.destroy()
    while (sum('subscriptions') !== 0) await new Promise((resolve) => setImmediate(resolve))
    expect(await server.publish('n', 'x\n')).to.equal(0)
  })

  it('keeps one order for all subscribers of a topic', async () => {
    const all = await subscribers(4, 'n')
    const second = ServerHandle.of(server.token)
    const count = 300
    for (let i = 0; i < count; i++) {
      void server.publish('n', `a${i}\n`)
      void second.publish('n', `b${i}\n`)
    }
    const texts = await Promise.all(all.map(async (client) => (await client.lines(1 + 2 * count)).join()))
    second.close()
    expect(new Set(texts).size).to.equal(1)
    for (const publisher of ['a', 'b']) {
      const own = texts[0]!.split(',').filter((line) => line.startsWith(publisher))
      expect(own).to.deep.equal(Array.from({ length: count }, (_, i) => `${publisher}${i}`))
    }
  })

  it('travels with a connection to another reactor, and stays through a reload, while it goes on', async () => {
    const [a, b] = (await subscribers(2, 'n')) as [Client, Client]
    const inThread = await ask(a, '?')
    let published = 0
    let stop = false
    const publishing = (async () => {
      while (!stop) expect(await server.publish('n', `n${published++}\n`)).to.be.a('number')
    })()
    for (let i = 0; i < 20; i++) a.write(`>${(i + 1) % 2}\n`)
    await server.reload()
    await server.resize({ reactors: 1 })
    await server.resize({ reactors: 2 })
    stop = true
    await publishing
    for (const client of [a, b]) {
      await client.until(({ received }) => received.includes(`n${published - 1}\n`))
      const numbers = client.received.toString().match(/n\d+\n/g)!
      expect(numbers.join('')).to.equal(Array.from({ length: published }, (_, i) => `n${i}\n`).join(''))
    }
    const after = await ask(a, '?')
    expect(after)
      .to.match(/^n in \d+$/)
      .and.not.equal(inThread)
    expect(sum('subscriptions')).to.equal(2)
  })

  it('has limits, with coded errors', async () => {
    const [a] = (await subscribers(1, 'n')) as [Client]
    expect(await ask(a, '+n drop')).to.equal('subscribed false')
    expect(await ask(a, '+x')).to.equal('subscribed true')
    expect(await ask(a, '+y')).to.equal('subscribed true')
    expect(await ask(a, '+z')).to.equal('ERR_MR_TOO_MANY_SUBSCRIPTIONS')
    await ask(a, '-y')
    expect(await ask(a, `+${'y'.repeat(99)}`)).to.equal('ERR_MR_TOO_MANY_SUBSCRIPTIONS')
    expect(await ask(a, `+${'y'.repeat(98)}`)).to.equal('subscribed true')
    expect(await ask(a, '+')).to.equal('ERR_MR_TOPIC')
    expect(await ask(a, '+n never')).to.equal('ERR_MR_OPTION_RANGE')
    expect(await ask(a, `-${'é'.repeat(513)}`)).to.equal('ERR_MR_TOPIC')
    for (const [topic, data, code] of [
      ['', 'x', 'ERR_MR_TOPIC'],
      ['x'.repeat(1025), 'x', 'ERR_MR_TOPIC'],
      [5, 'x', 'ERR_MR_TOPIC'],
      ['n', 5, 'ERR_MR_DATA'],
    ] as const) {
      const error = await server.publish(topic as string, data as string).catch((thrown: { code: string }) => thrown)
      expect(error).to.have.property('code', code)
    }
    expect(await server.publish('x'.repeat(1024), 'x')).to.equal(0)
  })

  it('treats those who do not read by their policy, and nobody else', async () => {
    const [drop, latest, close, reader] = (await subscribers(4, 'n')) as [Client, Client, Client, Client]
    expect(await ask(drop, '+n drop')).to.equal('subscribed false')
    expect(await ask(latest, '+n latest')).to.equal('subscribed false')
    for (const client of [drop, latest, close]) client.socket.pause()
    const count = 200
    let sent = reader.received.length
    for (let i = 0; i < count; i++) {
      const message = `${i} ${'x'.repeat(64 << 10)}\n`
      sent += message.length
      await server.publish('n', message)
      // On a busy machine, a peer that reads would be too slow, too.
      await reader.until(({ received }) => received.length >= sent)
    }
    await server.publish('n', 'last\n')
    await reader.until(({ received }) => received.includes('last\n'))
    expect(reader.received.toString().match(/^\d+ /gm)).to.have.length(count)
    expect(server.stats().connections.closed['slow-consumer']).to.equal(1)
    expect(sum('publicationsDropped')).to.be.above(20)
    latest.socket.resume()
    await latest.until(({ received }) => received.includes('last\n'))
    drop.socket.resume()
    close.socket.resume()
    await close.untilClosed()
    // Ask something, so that all that was on its way is there.
    expect(await ask(latest, '-n')).to.equal('unsubscribed true')
    for (const client of [latest, drop]) {
      const numbers = client.received
        .toString()
        .match(/^\d+(?= x{65536}$)/gm)!
        .map(Number)
      expect(numbers).to.have.length.below(count)
      expect(numbers).to.deep.equal([...numbers].sort((x, y) => x - y))
    }
  })
})

describe('reactor.publish', () => {
  it('reaches the connections of a standalone reactor, and says how many', async () => {
    await using reactor = new Reactor()
    const { port } = await reactor.listen(
      { port: 0 },
      {
        open: (conn) => void conn.subscribe('n'),
        message: (_conn, chunk) => void reactor.publish('n', chunk),
      },
    )
    expect(reactor.publish('n', 'nobody')).to.equal(0)
    const a = await Client.connect(port)
    const b = await Client.connect(port)
    while (reactor.stats().subscriptions !== 2) await new Promise((resolve) => setImmediate(resolve))
    expect(reactor.publish('n', 'hello\n')).to.equal(2)
    a.write('from a\n')
    for (const client of [a, b]) {
      await client.until(({ received }) => received.toString() === 'hello\nfrom a\n')
      client.destroy()
    }
    expect(() => reactor.publish('', 'x'))
      .to.throw()
      .with.property('code', 'ERR_MR_TOPIC')
  })
})
