import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'chai'
import { cell } from '../fixtures/storm-counts.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { type ServerProcess, withServer } from '../support/server-process.js'

/** For longer than the limits that the tests set. */
const stoppedMs = 4_000
const taskTimeoutMs = 3_000

describe('a server process that is stopped for 4 s and goes on', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('cuts nobody whose bytes came in time, and only who was silent', async () => {
    await withServer({ app: 'storm-timeouts', reactors: 2, pool: 1 }, async (server) => {
      const clients = await Promise.all(Array.from({ length: 50 }, () => Client.connect(server.port)))
      let rounds = 0
      const askAll = async () => {
        rounds++
        for (const [i, client] of clients.entries()) client.write(`${i % 2 ? 'inline' : 'echo'} ${rounds}\n`)
        await Promise.all(clients.map((client) => client.lines(rounds)))
      }
      for (let i = 0; i < 20; i++) await askAll()
      // Just connected, and never says a word: the proof that the limit is on.
      const silent = await Client.connect(server.port)
      await server.until('all accepted', ({ counts }) => counts[cell.opened] === 51)
      await whileStopped(server, async () => {
        rounds++
        for (const [i, client] of clients.entries()) client.write(`${i % 2 ? 'inline' : 'echo'} ${rounds}\n`)
      })
      await Promise.all(clients.map((client) => client.lines(rounds)))
      for (let i = 0; i < 20; i++) await askAll()
      await silent.untilClosed()
      const { stats, errorCount } = await server.vitals()
      expect([stats.connections.open, stats.connections.closed.timeout, errorCount]).to.deep.equal([50, 1, 0])
      for (const client of clients) client.destroy()
    })
  })

  it('blames no task for the time', async () => {
    const pool = { size: 2, taskTimeoutMs }
    await withServer({ app: 'storm-work', reactors: 1, pool }, async (server) => {
      const spinning = await Client.connect(server.port)
      const waiting = await Client.connect(server.port)
      spinning.write('spin 1\n')
      await spinning.lines(1)
      // A tenth of a second of a worker's own time, and as long of waiting: far from the limit, also on a machine that is busy.
      waiting.write('late 100 token\n')
      spinning.write('spin 100\n')
      await server.until('both have begun', ({ stats }) => stats.workers.reduce((sum, w) => sum + w.framesStarted, 0) >= 2)
      await whileStopped(server, async () => {})
      expect(await waiting.lines(1)).to.deep.equal(['token'])
      expect(await spinning.lines(2)).to.deep.equal(['spun', 'spun'])
      const { replaced, errors } = await server.vitals()
      expect([replaced, errors]).to.deep.equal([[], []])
      spinning.destroy()
      waiting.destroy()
    })
  })
})

async function whileStopped(server: ServerProcess, work: () => Promise<void>): Promise<void> {
  server.signal('SIGSTOP')
  while (!/^State:\s+T/m.test(readFileSync(`/proc/${server.pid}/status`, 'utf8'))) await new Promise(setImmediate)
  await work()
  // The storm itself: so long the process does not run.
  await delay(stoppedMs)
  server.signal('SIGCONT')
}
