import { once } from 'node:events'
import net from 'node:net'
import { expect } from 'chai'
import { cell } from '../fixtures/storm-counts.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { cpuMsOf } from '../support/cpu.js'
import { Prober, quantile } from '../support/prober.js'
import { withServer } from '../support/server-process.js'

const mebibyte = 1 << 20

describe('a pool with too much to do', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('answers each of 50,000 tasks that met a full queue, in 128 MiB', async () => {
    const clientCount = 50
    const each = 1_000
    await withServer({ app: 'storm-work', reactors: 2, pool: { size: 2 } }, async (server) => {
      const resident = (await server.vitals()).rss
      const blockers = await Promise.all(Array.from({ length: 2 }, () => Client.connect(server.port)))
      for (const blocker of blockers) blocker.write('gate\n')
      await server.until('both workers wait', ({ counts }) => counts[cell.started] === 2)
      const clients = await Promise.all(Array.from({ length: clientCount }, () => Client.connect(server.port)))
      const token = (c: number, i: number) => `${c}-${i}-${'x'.repeat(200)}`
      for (const [c, client] of clients.entries()) {
        client.write(Array.from({ length: each }, (_, i) => `echo ${token(c, i)}\n`).join(''))
      }
      const full = await server.until('the queue is full', ({ stats }) => stats.reactors.some((r) => r.pausesByQueue > 0))
      expect(full.stats.queue.tasks).to.be.at.most(16_384)
      let most = full.rss
      await server.release(cell.gate)
      const all = Promise.all(clients.map((client) => client.lines(each)))
      let answered = false
      void all.then(
        () => {
          answered = true
        },
        () => {
          answered = true
        },
      )
      while (!answered) most = Math.max(most, (await server.vitals()).rss)
      for (const [c, lines] of (await all).entries()) {
        for (const [i, line] of lines.entries()) if (line !== token(c, i)) expect.fail(`${c}: ${line} instead of ${i}`)
      }
      console.log(`    rss +${((most - resident) / mebibyte).toFixed(1)} MiB`)
      expect(most - resident).to.be.at.most(128 * mebibyte)
      for (const client of [...clients, ...blockers]) client.destroy()
    })
  })

  it('with all workers busy, accepts and answers inline as before', async () => {
    await withServer({ app: 'storm-both', reactors: 2, pool: { size: 2, maxQueued: 64 } }, async (server) => {
      const prober = await Prober.start(server, 'inline hello\n')
      const blockers = await Promise.all(Array.from({ length: 2 }, () => Client.connect(server.port)))
      for (const blocker of blockers) blocker.write('gate\n')
      await server.until('both workers wait', ({ counts }) => counts[cell.started] === 2)
      // And a queue that is full behind them.
      const waiting = await Promise.all(Array.from({ length: 10 }, () => Client.connect(server.port)))
      for (const client of waiting) client.write('echo waited\n'.repeat(200))
      await server.until('the queue is full', ({ stats }) => stats.reactors.some((reactor) => reactor.pausesByQueue > 0))
      await prober.read()
      const waits: number[] = []
      const visitor = async () => {
        for (let i = 0; i < 50; i++) {
          const began = cpuMsOf(server.pid)
          const socket = net.connect(server.port, '127.0.0.1')
          socket.write('inline x\n')
          expect(String((await once(socket, 'data'))[0])).to.equal('inline x\n')
          waits.push(cpuMsOf(server.pid) - began)
          const closed = once(socket, 'close')
          socket.destroy()
          await closed
        }
      }
      await Promise.all(Array.from({ length: 20 }, visitor))
      waits.sort((a, b) => a - b)
      const inline = await prober.after(500)
      const connect = quantile(waits, 0.99)
      console.log(`    connect and answer p99 ${connect} ms of CPU, inline p99 ${inline.p99} ms`)
      expect(connect, 'CPU of the server while a visitor waits, p99').to.be.below(250)
      expect(inline.p99, 'CPU of the server while others wait, p99').to.be.below(250)
      expect(
        waiting.every(({ received }) => received.length === 0),
        'the workers are still busy',
      ).to.equal(true)
      await server.release(cell.gate)
      for (const client of waiting) expect(await client.lines(200)).to.deep.equal(Array(200).fill('waited'))
      await prober.stop()
      for (const client of [...waiting, ...blockers]) client.destroy()
    })
  })
})
