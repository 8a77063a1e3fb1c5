import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Server, serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { kill } from '../support/kill.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { statsOnce } from '../support/stats.js'

const runs = 30

describe('conn.run() whose frames are set aside', function () {
  this.timeout(30_000) // some mebibytes go through, on machines that are busy with other things
  let server: Server
  let folder: string
  let before: ReturnType<typeof census>
  let closed: boolean
  const greedy: Client[] = []
  beforeEach(() => {
    before = census()
    closed = false
    folder = mkdtempSync(join(tmpdir(), 'runs-'))
    process.env['RUNS_ASIDE'] = join(folder, 'outcomes')
    writeFileSync(process.env['RUNS_ASIDE'], '')
  })
  afterEach(async () => {
    for (const client of greedy.splice(0)) client.destroy()
    if (!closed) await server.close({ timeoutMs: 500 })
    rmSync(folder, { recursive: true })
    delete process.env['RUNS_ASIDE']
    expectNothingLeft(before)
  })

  const outcomes = (kind: 'asked' | 'run' | 'close'): string[] =>
    readFileSync(process.env['RUNS_ASIDE']!, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith(kind))
      .map((line) => line.slice(kind.length + 1))
  /** Of all runs, as soon as each has one; and how the connections closed that have closed by then. */
  async function settled(): Promise<Record<string, number>> {
    while (outcomes('run').length < runs) await new Promise(setImmediate)
    const counts: Record<string, number> = {}
    for (const outcome of outcomes('run')) counts[outcome] = (counts[outcome] ?? 0) + 1
    return counts
  }
  const gone = { ERR_MR_CONNECTION_CLOSED: runs }

  /** A server whose reactors are at their bound for replies, and connections whose runs are set aside there: one for each reactor. */
  async function start(how: 'hold' | 'answer', reactors = 1, taskTimeoutMs = 30_000): Promise<Client[]> {
    const path = join(folder, 'socket')
    const listen = reactors === 1 ? { port: 0, host: '127.0.0.1' } : { path }
    const limits = { memory: reactors * (16 << 20) }
    server = await serve({ app: app('runs-aside'), listen, reactors, pool: { size: 2, taskTimeoutMs }, limits })
    server.on('error', () => {})
    const target = reactors === 1 ? server.listeners[0]!.port : path
    for (let i = 0; i < reactors; i++) {
      const client = await Client.connect(target)
      greedy.push(client)
      client.socket.pause()
      client.write('greedy\n'.repeat(40))
    }
    const idle = () =>
      statsOnce(server, ({ queue, reactors: all }) => queue.tasks === 0 && all.every(({ framesSetAside }) => framesSetAside > 0))
    await idle()
    const clients: Client[] = []
    for (let i = 0; i < reactors; i++) {
      const client = await Client.connect(target)
      clients.push(client)
      client.write(`${how} ${runs / reactors}\n`)
    }
    // Some of the runs are set aside then, or all have had their turn: at its bound a reactor lets one after the other.
    while (outcomes('asked').length < reactors) await new Promise(setImmediate)
    await idle()
    return clients
  }
  /** All frames in the pool, set aside or on their way belong to the greedy connection, and go with it. */
  async function nothingLeft(): Promise<void> {
    for (const client of greedy) client.destroy()
    await statsOnce(server, ({ memory, queue, connections }) => {
      return memory.tasks === 0 && memory.messages === 0 && memory.buffered === 0 && queue.frames === 0 && connections.open === 0
    })
  }

  it('rejects when the peer resets', async () => {
    const [client] = await start('hold')
    client!.socket.resetAndDestroy()
    expect(await settled()).to.deep.equal(gone)
    await nothingLeft()
  })

  for (const [how, reason] of [
    ['destroy', 'destroyed'],
    ['timeout', 'timeout'],
  ] as const) {
    it(`rejects when the connection closes as ${reason}`, async () => {
      const [client] = await start('hold')
      client!.write(`${how}\n`)
      await client!.untilClosed()
      expect(await settled()).to.deep.equal(gone)
      expect(outcomes('close')).to.deep.equal([reason])
      await nothingLeft()
    })
  }

  it('resolves when there is room again', async () => {
    const [client] = await start('answer')
    greedy[0]!.socket.resume()
    expect(await settled()).to.deep.equal({ answered: runs })
    client!.destroy()
    await nothingLeft()
  })

  it('resolves where there is no room, too, for a peer that has half-closed', async () => {
    const [client] = await start('answer')
    client!.socket.end()
    expect(await settled()).to.deep.equal({ answered: runs })
    await client!.untilClosed()
    await nothingLeft()
  })

  it('resolves after end() of its connection', async () => {
    const [client] = await start('answer')
    client!.write('end\n')
    expect(await settled()).to.deep.equal({ answered: runs })
    await client!.untilClosed()
    await nothingLeft()
  })

  it('is lost with the thread of its reactor, and leaves nothing', async () => {
    const [client] = await start('hold')
    const replaced = new Promise((resolve) => server.once('reactorReplaced', resolve))
    await kill('reactor 0', replaced)
    await client!.untilClosed()
    expect(outcomes('run')).to.deep.equal([])
    expect(server.stats().connections.closed['thread-lost']).to.equal(1)
    await nothingLeft()
  })

  it('outlives the workers, which have not begun it', async () => {
    const [client] = await start('answer')
    const replaced = new Promise((resolve) => server.once('workerReplaced', resolve))
    await kill('worker 0', replaced)
    greedy[0]!.socket.resume()
    expect(await settled()).to.deep.equal({ answered: runs })
    client!.destroy()
    await nothingLeft()
  })

  it('resolves in the thread that a reload waits for', async () => {
    const [client] = await start('answer')
    await server.reload({ timeoutMs: 20_000 })
    expect(await settled()).to.deep.equal({ answered: runs })
    client!.destroy()
    await nothingLeft()
  })

  it('settles when a reload waits no longer', async () => {
    const [client] = await start('hold', 1, 200)
    await server.reload({ timeoutMs: 1 })
    // Frames that the old workers had begun have had their time; the others go with the thread.
    const counts = await settled()
    const { ERR_MR_TASK_TIMEOUT: late = 0, ERR_MR_CONNECTION_CLOSED: lost = 0 } = counts
    expect(late + lost, JSON.stringify(counts)).to.equal(runs)
    if (lost !== 0) expect(outcomes('close')).to.deep.equal(['thread-lost'])
    client!.destroy()
    await nothingLeft()
  })

  it('rejects when its reactor is one too many, and the others keep theirs', async () => {
    const clients = await start('hold', 2)
    await server.resize({ reactors: 1, timeoutMs: 1 })
    while (outcomes('run').length < runs / 2) await new Promise(setImmediate)
    expect(outcomes('close')).to.deep.equal(['server-closing'])
    expect(outcomes('run')).to.deep.equal(Array(runs / 2).fill('ERR_MR_CONNECTION_CLOSED'))
    for (const client of clients) client.write('destroy\n')
    expect(await settled()).to.deep.equal(gone)
    await nothingLeft()
  })

  it('rejects when the server closes and waits no longer', async () => {
    await start('hold')
    closed = true
    await server.close({ timeoutMs: 1 })
    expect(await settled()).to.deep.equal(gone)
  })
})
