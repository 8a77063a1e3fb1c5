import { setEnvironmentData } from 'node:worker_threads'
import { expect } from 'chai'
import { type ReactorReplaced, type Server, serve } from '@multireactor/core'
import { closedAs } from '../support/closed.js'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { kill } from '../support/kill.js'
import { census, expectNothingLeft } from '../support/leaks.js'

function replaced(server: Server): Promise<ReactorReplaced> {
  return new Promise((resolve) => server.once('reactorReplaced', resolve))
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve))
}

describe('the thread of a reactor', () => {
  let server: Server | undefined
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    if (server) await server.close({ timeoutMs: 500 })
    server = undefined
    expectNothingLeft(before)
  })

  for (const [how, reason] of [
    ['exit', 'exit'],
    ['throw', 'exit'],
    ['heap', 'exit'],
    ['loop', 'stuck'],
  ] as const) {
    it(`dies by ${how}: the connections that waited go on with the next one, and the one being handled closes`, async function () {
      this.timeout(120_000)
      server = await serve({
        app: app('room'),
        listen: 0,
        reactors: 1,
        pool: 0,
        resourceLimits: { maxOldGenerationSizeMb: 32 },
        hookTimeoutMs: how === 'loop' ? 400 : 30_000,
      })
      const { port } = server.listeners[0]!
      const bystander = await Client.connect(port)
      bystander.write('one\n')
      await bystander.lines(1)
      const victim = await Client.connect(port)
      const death = replaced(server)
      victim.write(`${how}\n`)
      expect((await death).reason).to.equal(reason)
      // While no thread drives it, bytes and new connections wait in the kernel.
      bystander.write('two\n')
      const late = await Client.connect(port)
      late.write('hello\n')
      expect(await bystander.lines(2)).to.deep.equal(['1 fresh one', '1 lost two'])
      expect(await late.lines(1)).to.deep.equal(['1 fresh hello'])
      if (how !== 'throw') {
        await victim.untilClosed()
        expect(await closedAs(server, 'thread-lost', 1)).to.equal(1)
      }
      expect(server.stats().reactorsReplaced).to.equal(1)
      for (const client of [bystander, victim, late]) client.destroy()
    })
  }

  it('has as long to start as its start hook takes: only one that drives can be stuck', async () => {
    const startMs = new Int32Array(new SharedArrayBuffer(4))
    setEnvironmentData('startMs', startMs as never)
    const failures: unknown[] = []
    server = await serve({ app: app('slow-start'), listen: 0, reactors: 1, pool: 0, hookTimeoutMs: 200 })
    server.on('error', (error) => failures.push(error))
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('before\n')
    await client.lines(1)
    Atomics.store(startMs, 0, 1_500) // many times the limit of a hook
    await kill('reactor 0', replaced(server))
    client.write('after\n')
    expect(await client.lines(2)).to.deep.equal(['before', 'after'])
    await server.resize({ reactors: 2 })
    expect(failures).to.deep.equal([])
    expect(server.stats().reactorsReplaced).to.equal(1)
    client.destroy()
  })

  it('is replaced without any client noticing, where the app has only parse', async () => {
    server = await serve({ app: app('mortal-orders'), listen: 0, reactors: 1, pool: 1 })
    const client = await Client.connect(server.listeners[0]!.port)
    const count = 2_000
    for (let round = 0; round < 3; round++) {
      client.write(Array.from({ length: count }, (_, i) => `{"id":${i},"price":2,"count":${round}}\n`).join(''))
      await kill('reactor 0', replaced(server))
    }
    const lines = await client.lines(3 * count)
    expect(lines).to.deep.equal(
      Array.from({ length: 3 * count }, (_, i) => `{"id":${i % count},"total":${2 * Math.floor(i / count)}}`),
    )
    client.destroy()
  })

  it('that dies with half a frame received and replies unsent loses neither', async () => {
    server = await serve({ app: app('mortal-orders'), listen: 0, reactors: 1, pool: 1 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('{"id":1,"pri')
    const other = await Client.connect(server.listeners[0]!.port)
    other.write('{"id":0,"price":1,"count":1}\n')
    await other.lines(1)
    await kill('reactor 0', replaced(server))
    client.write('ce":3,"count":4}\n')
    expect(await client.lines(1)).to.deep.equal(['{"id":1,"total":12}'])
    client.destroy()
    other.destroy()
  })

  it('closes as thread-lost what has data and no restore hook, and keeps what has none', async () => {
    server = await serve({ app: app('seats'), listen: 0, reactors: 1, pool: 0 })
    const { port } = server.listeners[0]!
    const plain = await Client.connect(port)
    plain.write('hello\n')
    await plain.lines(1)
    const seated = await Client.connect(port)
    seated.write('sit\n')
    await seated.lines(1)
    await kill('reactor 0', replaced(server))
    await seated.untilClosed()
    plain.write('again\n')
    expect(await plain.lines(2)).to.deep.equal(['hello', 'again'])
    expect(await closedAs(server, 'thread-lost', 1)).to.equal(1)
    plain.destroy()
  })

  it('that dies in a hook takes along whom it owes something, and nobody else', async () => {
    server = await serve({ app: app('held-in-hooks'), listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool: 1 })
    const { port } = server.listeners[0]!
    const held = await Promise.all(['defer', 'call', 'promise', 'stream'].map(() => Client.connect(port)))
    const [free, dying] = await Promise.all([Client.connect(port), Client.connect(port)])
    for (const [i, text] of ['defer', 'call', 'promise', 'stream'].entries()) held[i]!.write(`${text}\n`)
    await held[3]!.lines(1)
    await until(() => server!.stats().memory.buffered >= 3 * (2 << 10))
    const death = replaced(server)
    dying.write('exit\n')
    await death
    await Promise.all([...held, dying].map((client) => client.untilClosed()))
    expect(await closedAs(server, 'thread-lost', 5)).to.equal(5)
    free.write('free\n')
    expect(await free.lines(1)).to.deep.equal(['free'])
    await until(() => server!.stats().memory.buffered === 0)
    free.destroy()
  })

  it('whose successors do not start: its connections go to the siblings, and the server says so', async function () {
    this.timeout(120_000)
    server = await serve({ app: app('room'), listen: 0, reactors: 2, pool: 0 })
    server.on('reactorReplaced', () => {})
    const givenUp = new Promise<void>((resolve) => {
      server!.on('error', (error) => {
        if (/no thread of reactor 1 could be started .*; its connections go to the other reactors/.test(error.message)) resolve()
      })
    })
    const { port } = server.listeners[0]!
    const clients = await Promise.all(Array.from({ length: 16 }, () => Client.connect(port)))
    for (const client of clients) client.write('here\n')
    await Promise.all(clients.map((client) => client.lines(1)))
    await killForGood('reactor 1', givenUp)
    for (const client of clients) client.write('last\n')
    await Promise.all(clients.map((client) => client.until((one) => one.received.toString().endsWith('last\n'))))
    // The port's second listening socket went along: every new connection is served.
    const more = await Promise.all(Array.from({ length: 32 }, () => Client.connect(port)))
    for (const client of more) client.write('new\n')
    await Promise.all(more.map((client) => client.lines(1)))
    expect(server.stats().reactors[1]!.open).to.equal(0)
    for (const client of [...clients, ...more]) client.destroy()
  })

  it('the last one, whose successors do not start: the server closes and says why', async function () {
    this.timeout(120_000)
    server = await serve({ app: app('room'), listen: 0, reactors: 1, pool: 0 })
    const own = server
    server = undefined
    own.on('error', () => {})
    expect(await killForGood('reactor 0', own.closed)).to.have.property('code', 'ERR_MR_THREAD_LOST')
  })
})

/** Its successors cannot start either. */
async function killForGood<T>(thread: string, end: Promise<T>): Promise<T> {
  process.env['MORTAL_START'] = thread
  try {
    return await kill(thread, end)
  } finally {
    delete process.env['MORTAL_START']
  }
}
