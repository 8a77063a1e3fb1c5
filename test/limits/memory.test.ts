import { setEnvironmentData } from 'node:worker_threads'
import { type Server, type ServeOptions, type ServerStats, serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { statsOnce } from '../support/stats.js'

const mebibyte = 1 << 20
/** A line of so many bytes that begins with this word. */
const line = (word: string, bytes: number) => Buffer.from(`${word} ${'x'.repeat(bytes - word.length - 2)}\n`, 'latin1')

describe('the budget of memory', function () {
  this.timeout(120_000) // tens of megabytes go through, on machines that are busy with other things
  let server: Server
  let before: ReturnType<typeof census>
  let gate: Int32Array
  beforeEach(() => {
    before = census()
    gate = new Int32Array(new SharedArrayBuffer(4))
    setEnvironmentData('gate', gate as never)
  })
  afterEach(async () => {
    open()
    await server.close({ timeoutMs: 500 })
    expectNothingLeft(before)
  })

  function open(): void {
    Atomics.store(gate, 0, 1)
    Atomics.notify(gate, 0)
  }
  async function start(memory: number, options: Partial<ServeOptions> = {}): Promise<number> {
    const silent = { debug() {}, info() {}, warn() {}, error() {} }
    server = await serve({
      app: app('memory-held'),
      listen: 0,
      reactors: 1,
      pool: 1,
      limits: { memory },
      logger: silent,
      ...options,
    })
    return server.listeners[0]!.port
  }
  const until = (done: (stats: ServerStats) => boolean) => statsOnce(server, done)

  it('counts the frames that a worker has claimed, until they settle', async () => {
    const port = await start(1024 * mebibyte)
    const clients = await Promise.all(Array.from({ length: 6 }, () => Client.connect(port)))
    // Four of a connection pass, of any size.
    for (const client of clients) for (let i = 0; i < 4; i++) client.write(line('hold', mebibyte))
    const { memory, workers } = await until(({ queue, workers }) => queue.tasks === 0 && workers[0]!.framesStarted === 24)
    expect(workers[0]!.framesSettled).to.equal(0)
    expect(memory.tasks).to.be.within(24 * (mebibyte - 1), 24 * (mebibyte + 256))
    expect(memory.sum).to.equal(memory.buffered + memory.tasks + memory.messages + memory.received)
    open()
    for (const client of clients) expect(await client.lines(4)).to.deep.equal(Array(4).fill('held'))
    await until((stats) => stats.memory.tasks === 0)
    for (const client of clients) client.destroy()
  })

  it('counts the replies in the mailbox of a reactor that does not come to it', async () => {
    const port = await start(1024 * mebibyte)
    const blocker = await Client.connect(port)
    const client = await Client.connect(port)
    client.write(Buffer.concat([line('large', 1_000), line('large', 1_000), line('large', 1_000), line('block', 1_000)]))
    const { memory } = await until((stats) => stats.workers[0]!.framesSettled === 3 && stats.memory.tasks === 0)
    expect(memory.messages).to.be.within(3 * mebibyte, 3 * mebibyte + 65_536)
    open()
    await client.bytes(3 * mebibyte + 'passed\n'.length)
    await until((stats) => stats.memory.messages === 0)
    for (const one of [client, blocker]) one.destroy()
  })

  it('counts what hooks keep, closes who feeds them more, and serves again when they have let go', async () => {
    const limit = 16 * mebibyte
    const port = await start(limit, { pool: 0 })
    const polite = await Client.connect(port)
    const hoarder = await Client.connect(port)
    let kept = 0
    for (; !hoarder.closed; kept++) {
      hoarder.write(line('keep', 65_536))
      await hoarder.lines(kept + 1).catch(() => {})
    }
    expect(kept * 65_536).to.be.above(limit / 2)
    expect(server.stats().connections.closed['memory-limit']).to.be.at.least(1)
    // Its kept memory goes with its connection, and is collected.
    await until((stats) => stats.memory.sum < limit / 2)
    const next = await Client.connect(port)
    next.write(line('inline', 100))
    expect(await next.lines(1)).to.deep.equal(['seen'])
    for (const one of [polite, hoarder, next]) one.destroy()
  })

  it('closes nobody for the results of calls that hooks have let go of', async () => {
    const limit = 24 * mebibyte
    const port = await start(limit, { app: app('memory-calls') })
    const client = await Client.connect(port)
    const startedAt = performance.now()
    // Much more than the limit, and longer than the collectors are given before it counts.
    for (let calls = 0; calls < 200 || performance.now() - startedAt < 1_500; calls++) {
      client.write('x\n')
      expect(await client.lines(1)).to.deep.equal([String(mebibyte)])
      client.received = client.received.subarray(0, 0)
    }
    expect(server.stats().connections.closed['memory-limit']).to.equal(0)
    client.destroy()
  })

  for (const [where, word, answer] of [
    ['hooks', 'inline', 'seen'],
    ['parse', 'pool', 'parsed'],
  ] as const) {
    it(`closes nobody for what ${where} have let go of and V8 has not collected`, async () => {
      const limit = 24 * mebibyte
      const port = await start(limit)
      const client = await Client.connect(port)
      const request = line(word, 65_536)
      const startedAt = performance.now()
      let sent = 0
      // Much more than the limit, and longer than the collectors are given before it counts.
      for (; sent < 16 * limit || performance.now() - startedAt < 1_500; sent += 8 * request.length) {
        for (let i = 0; i < 8; i++) client.write(request)
        expect(await client.lines(8)).to.deep.equal(Array(8).fill(answer))
        client.received = client.received.subarray(0, 0)
      }
      const { memory, connections } = server.stats()
      expect(connections.closed['memory-limit']).to.equal(0)
      // V8 is asked five times a second, and how much comes in between is the machine's affair: far less than has come through.
      expect(memory.sum).to.be.below(sent / 2)
      while (server.stats().memory.sum >= limit) {
        client.write(line(word, 100))
        await client.lines(1)
        client.received = client.received.subarray(0, 0)
      }
      client.destroy()
    })
  }
})
