import { type ReactorReplaced, type Server, serve } from '@multireactor/core'
import { expect } from 'chai'
import { closedAs } from '../support/closed.js'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('a frame on a reactor whose thread goes', () => {
  let server: Server | undefined
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    await server?.close({ timeoutMs: 500 })
    server = undefined
    expectNothingLeft(before)
  })
  const replaced = (): Promise<ReactorReplaced> => new Promise((resolve) => server!.once('reactorReplaced', resolve))

  it('is not run again and its connection closes; those that waited behind it are answered once, by the next thread', async () => {
    server = await serve({ app: app('placement_inline'), listen: 0, reactors: 1, pool: 0 })
    const { port } = server.listeners[0]!
    const others = await Promise.all([1, 2, 3, 4].map(() => Client.connect(port)))
    const victim = await Client.connect(port)
    const death = replaced()
    // The reactor is busy while all of them send, so that they lie in one batch.
    others[0]!.write('spin 100\n')
    for (const [i, other] of others.entries()) other.write(`a${i}\nb${i}\n`)
    victim.write('before\nexit\nbehind\n')
    for (const [i, other] of others.entries()) other.write(`c${i}\n`)
    expect((await death).reason).to.equal('exit')
    for (const [i, other] of others.entries()) {
      const expected = [...(i === 0 ? ['spun 100'] : []), `a${i}`, `b${i}`, `c${i}`]
      expect(await other.lines(expected.length)).to.deep.equal(expected)
      other.write('still here\n')
      expect((await other.lines(expected.length + 1)).at(-1)).to.equal('still here')
      expect(other.received.toString().split('\n').length).to.equal(expected.length + 2)
      other.destroy()
    }
    await victim.untilClosed()
    expect(['', 'before\n']).to.include(victim.received.toString())
    expect(await closedAs(server, 'thread-lost', 1)).to.equal(1)
  })

  it('closes as task-timeout when it runs longer than taskTimeoutMs, and the thread is replaced', async () => {
    server = await serve({
      app: app('placement_inline'),
      listen: 0,
      reactors: 1,
      pool: { size: 0, taskTimeoutMs: 300 },
    })
    const { port } = server.listeners[0]!
    const victim = await Client.connect(port)
    const other = await Client.connect(port)
    const death = replaced()
    victim.write('for-ever\n')
    expect((await death).reason).to.equal('timeout')
    await victim.untilClosed()
    other.write('x\n')
    expect(await other.lines(1)).to.deep.equal(['x'])
    expect(await closedAs(server, 'task-timeout', 1)).to.equal(1)
    other.destroy()
  })

  it('errs alone when its promise takes longer', async () => {
    server = await serve({
      app: app('placement_inline'),
      listen: 0,
      reactors: 1,
      pool: { size: 0, taskTimeoutMs: 100 },
    })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('gone\nx\n')
    expect(await client.lines(2)).to.deep.equal(['error the frame ran longer than taskTimeoutMs (100 ms)', 'x'])
    expect(server.stats().reactorsReplaced).to.equal(0)
    client.destroy()
  })

  it('is answered by the old code when the server reloads meanwhile, pending ones too', async () => {
    server = await serve({ app: app('placement_inline'), listen: 0, reactors: 2, pool: 0 })
    const clients = await Promise.all(Array.from({ length: 8 }, () => Client.connect(server!.listeners[0]!.port)))
    for (const client of clients) client.write('sleep 100\nx\n')
    while (server.stats().reactors.reduce((sum, { framesInline }) => sum + framesInline, 0) < 16) await new Promise(setImmediate)
    await server.reload()
    for (const client of clients) {
      client.write('y\n')
      expect(await client.lines(3)).to.deep.equal(['slept 100', 'x', 'y'])
      client.destroy()
    }
    expect(server.stats().connections.closed['thread-lost']).to.equal(0)
  })

  it('is answered when the server closes in an orderly way', async () => {
    server = await serve({ app: app('placement_inline'), listen: 0, reactors: 1, pool: 0 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('sleep 100\nx\n')
    while (server.stats().reactors[0]!.framesInline < 2) await new Promise(setImmediate)
    const closing = server.close()
    server = undefined
    await client.untilClosed()
    expect(client.received.toString()).to.equal('slept 100\nx\n')
    expect((await closing).destroyed).to.equal(0)
  })
})
