import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect } from 'chai'
import { type Server, serve } from '@multireactor/core'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { closedAs } from '../support/closed.js'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('a running server', () => {
  let server: Server
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    await server.close({ timeoutMs: 500 })
    expectNothingLeft(before)
  })

  const opens = () => server.stats().reactors.map(({ open }) => open)

  it('gets more reactors, which accept, and gives them up again without a client noticing', async function () {
    this.timeout(120_000)
    server = await serve({ app: app('orders'), listen: 0, reactors: 1, pool: 1 })
    const { port } = server.listeners[0]!
    const connect = (count: number) => Promise.all(Array.from({ length: count }, () => Client.connect(port)))
    const clients = await connect(8)
    await server.resize({ reactors: 3 })
    expect(server.listeners[0]!.reactors).to.equal(3)
    clients.push(...(await connect(32)))
    const sent = clients.map(() => 0)
    let going = true
    const talk = clients.map(async (client, i) => {
      while (going) {
        // A part of the next line goes along, so that partial frames move too.
        client.write(sent[i] === 0 ? '{"id":0,"pri' : `ce":2,"count":1}\n{"id":${sent[i]},"pri`)
        if (sent[i] !== 0) await client.lines(sent[i]!)
        sent[i]!++
        await new Promise((resolve) => setImmediate(resolve))
      }
      client.write('ce":2,"count":1}\n')
      await client.lines(sent[i]!)
    })
    while (opens().reduce((a, b) => a + b) < clients.length) await new Promise((resolve) => setImmediate(resolve))
    expect(opens().every((open) => open > 0)).to.equal(true)
    await server.resize({ reactors: 1 })
    expect(server.listeners[0]!.reactors).to.equal(1)
    expect(opens()).to.deep.equal([clients.length, 0, 0])
    going = false
    await Promise.all(talk)
    for (const [i, client] of clients.entries()) {
      const ids = (await client.lines(sent[i]!)).map((line) => (JSON.parse(line) as { id: number }).id)
      expect(ids).to.deep.equal(ids.map((_, n) => n))
      expect(client.error).to.equal(undefined)
    }
    // And once more upwards: the removed reactors come back.
    await server.resize({ reactors: 2 })
    const more = await connect(32)
    for (const client of more) client.write('{"id":7,"price":2,"count":1}\n')
    await Promise.all(more.map((client) => client.lines(1)))
    expect(opens()[1]).to.be.greaterThan(0)
    for (const client of [...clients, ...more]) client.destroy()
  })

  it('gets more pool workers and gives them up again under load', async () => {
    server = await serve({ app: app('orders'), listen: 0, reactors: 1, pool: 1 })
    const client = await Client.connect(server.listeners[0]!.port)
    let sent = 0
    for (const pool of [3, 1, 2, 4, 1]) {
      for (let i = 0; i < 500; i++) client.write(`{"id":${sent++},"price":2,"count":1}\n`)
      await server.resize({ pool })
    }
    const ids = (await client.lines(sent)).map((line) => (JSON.parse(line) as { id: number }).id)
    expect(ids).to.deep.equal(ids.map((_, n) => n))
    client.destroy()
  })

  it('gives up pool workers that never come back, and ends their frames', async () => {
    const pool = { size: 2, taskTimeoutMs: 300 }
    server = await serve({ app: app('loops-in-pool'), listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool })
    server.on('workerReplaced', () => {})
    const { port } = server.listeners[0]!
    const clients = await Promise.all([Client.connect(port), Client.connect(port)])
    for (const client of clients) client.write('loop\n')
    const areClaimed = () => server.stats().reactors[0]!.framesSubmitted === 2 && server.stats().queue.tasks === 0
    while (!areClaimed()) await new Promise(setImmediate)
    await server.resize({ pool: 1 })
    await Promise.all(clients.map((client) => client.untilClosed()))
    expect(await closedAs(server, 'task-timeout', 2)).to.equal(2)
  })

  it('changes the code of a worker that loops in a timer', async () => {
    const pool = { size: 1, taskTimeoutMs: 300 }
    server = await serve({ app: app('loops-in-pool'), listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool })
    server.on('workerReplaced', () => {})
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('later\n')
    await client.lines(1)
    await server.reload()
    client.write('on\n')
    expect(await client.lines(2)).to.deep.equal(['later', 'on'])
    client.destroy()
  })

  it('ends a hook that loops in a reactor that leaves, as at any other time', async function () {
    this.timeout(60_000)
    const listen = { port: 0, host: '127.0.0.1' }
    server = await serve({ app: app('loops-in-suspend'), listen, reactors: 2, pool: 0, hookTimeoutMs: 300 })
    server.on('error', () => {})
    const { port } = server.listeners[0]!
    const [looping, polite] = await Promise.all([Client.connect(port), Client.connect(port)])
    for (const client of [looping, polite]) client.write('move\n')
    await Promise.all([looping.lines(1), polite.lines(1)])
    looping.write('loop\n')
    await looping.lines(2)
    await server.resize({ reactors: 1, timeoutMs: 600_000 })
    polite.write('on\n')
    expect(await polite.lines(3)).to.deep.equal(['moved', 'moved', 'on'])
    looping.destroy()
    polite.destroy()
  })

  it('takes a reactor back whose thread had to be ended when it left', async function () {
    this.timeout(60_000)
    server = await serve({ app: app('stuck'), listen: 0, reactors: 2, pool: 0 })
    const { port } = server.listeners[0]!
    const clients: Client[] = []
    while (opens()[1] === 0) {
      clients.push(await Client.connect(port))
      await new Promise((resolve) => setImmediate(resolve))
    }
    // It loops on one of the reactors, or on both; only the second one leaves.
    for (let i = 0; i < 16 && opens()[1]! < 2; i++) clients.push(await Client.connect(port))
    const { turns } = server.stats().reactors[1]! as { turns: number }
    expect(turns).to.be.above(0)
    for (const client of clients) client.write('y')
    await server.resize({ reactors: 1, timeoutMs: 0 })
    await server.resize({ reactors: 2 })
    expect(server.listeners[0]!.reactors).to.equal(2)
    for (const client of clients) client.destroy()
  })

  it('keeps the connections of a reactor that comes back after its last ones were cut', async function () {
    this.timeout(60_000)
    server = await serve({ app: app('held'), listen: 0, reactors: 2, pool: 0 })
    const { port } = server.listeners[0]!
    const onSecond = async (): Promise<Client[]> => {
      const clients: Client[] = []
      while (opens()[1] === 0) {
        clients.push(await Client.connect(port))
        await new Promise((resolve) => setImmediate(resolve))
      }
      return clients
    }
    const held = await onSecond()
    for (const client of held) client.write('hold\n')
    for (const client of held) await client.lines(1)
    await server.resize({ reactors: 1, timeoutMs: 0 })
    await server.resize({ reactors: 2 })
    const fresh = await onSecond()
    for (const client of fresh) client.write('one\n')
    for (const client of fresh) expect(await client.lines(1)).to.deep.equal(['one'])
    for (const client of fresh) client.write('two\n')
    for (const client of fresh) expect(await client.lines(2)).to.deep.equal(['one', 'two'])
    for (const client of [...held, ...fresh]) client.destroy()
  })

  it('sees the reset of a connection that was paused when it moved', async () => {
    server = await serve({ app: app('moved_paused'), listen: 0, reactors: 2, pool: 0 })
    const socket = connect(server.listeners[0]!.port, '127.0.0.1')
    socket.write('x')
    expect(String((await once(socket, 'data'))[0])).to.equal('moved')
    socket.resetAndDestroy()
    while (server.stats().connections.open > 0) await new Promise((resolve) => setImmediate(resolve))
    expect(server.stats().connections.closed.reset).to.equal(1)
  })

  it('tells the close hook of a connection that cannot move, since its framer is a function of its thread', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'leaving-'))
    const log = join(folder, 'log')
    writeFileSync(log, '')
    process.env['LEAVING_LOG'] = log
    server = await serve({ app: app('leaving'), listen: 0, reactors: 2, pool: 0 })
    delete process.env['LEAVING_LOG']
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('mover\n')
    await client.untilClosed()
    // The peer sees its end before the hook is called.
    while (readFileSync(log, 'latin1') === '') await new Promise((resolve) => setImmediate(resolve))
    expect(readFileSync(log, 'latin1')).to.equal('close mover thread-lost\n')
    rmSync(folder, { recursive: true })
  })

  it('refuses sizes that cannot be', async () => {
    server = await serve({ app: app('echo'), listen: 0, reactors: 1, pool: 0 })
    for (const [sizes, code] of [
      [{ reactors: 0 }, 'ERR_MR_OPTION_RANGE'],
      [{ reactors: 10_000 }, 'ERR_MR_OPTION_RANGE'],
      [{ pool: 2 }, 'ERR_MR_NO_POOL'],
      [{ reactor: 2 } as object, 'ERR_MR_UNKNOWN_OPTION'],
    ] as const) {
      const error = await server.resize(sizes).then(
        () => undefined,
        (reason: Error) => reason,
      )
      expect(error).to.have.property('code', code)
    }
  })

  it('moves a connection to another reactor and back, with its data and its half frame', async () => {
    server = await serve({ app: app('room'), listen: 0, reactors: 2, pool: 0 })
    const { port } = server.listeners[0]!
    const client = await Client.connect(port)
    const watched: string[] = []
    client.write('thread\n')
    watched.push((await client.lines(1))[0]!)
    let lines = 1
    for (const reactor of [0, 1, 0, 1]) {
      client.write(`move ${reactor}\nthread\nhel`)
      watched.push((await client.lines(++lines))[lines - 1]!)
      client.write('lo\n')
      expect((await client.lines(++lines))[lines - 1]).to.match(/^\d+ (fresh|resumed) hello$/)
    }
    expect(new Set(watched).size).to.equal(2)
    expect(watched[1]).to.equal(watched[3])
    expect(watched[2]).to.equal(watched[4])
    const count = Number((await client.lines(lines)).at(-1)!.split(' ')[0])
    expect(count).to.equal(1 + 4 * 3)
    client.destroy()
  })
})
