import { once } from 'node:events'
import net from 'node:net'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Prober } from '../support/prober.js'
import { type ServerPlan, withServer } from '../support/server-process.js'

const mebibyte = 1 << 20
const limit = 256 * mebibyte
const plan: ServerPlan = { app: 'large-replies', reactors: 2, pool: 2, limits: { memory: limit } }

describe('peers that ask for much and read nothing', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  // Many of them have room for some replies each, in the kernel's buffers: one at a time, these go before.
  for (const [peers, frames, cpuMs] of [
    [8, 1024, 250],
    [400, 64, 2_500],
  ] as const) {
    it(`${peers} of them with ${frames} replies of 1 MiB each: memory stays within its limit, and others are answered`, async () => {
      await withServer(plan, async (server) => {
        const prober = await Prober.start(server, '6 hello\n', 6)
        await prober.after(2_000)
        const base = (await server.vitals()).rss
        const sockets = await Promise.all(
          Array.from({ length: peers }, async () => {
            const socket = net.connect({ port: server.port, host: '127.0.0.1' })
            socket.on('error', () => {}) // some may be closed over the limit
            socket.pause()
            await once(socket, 'connect')
            return socket
          }),
        )
        for (const socket of sockets) socket.write(`${mebibyte} x\n`.repeat(frames))
        let most = 0
        let answers = 0
        let worst = 0
        while (answers < 4_000) {
          const [others, { rss }] = await Promise.all([prober.after(200), server.vitals()])
          answers += others.count
          worst = Math.max(worst, others.p99)
          most = Math.max(most, rss)
        }
        const { stats } = await server.vitals()
        const sum = (name: 'framesSetAside' | 'turnsBounded') => stats.reactors.reduce((all, one) => all + one[name], 0)
        console.log(
          `    rss +${((most - base) / mebibyte).toFixed(0)} MiB, p99 of others ${worst} ms of CPU, set aside ${sum('framesSetAside')}, bounded ${sum('turnsBounded')}`,
        )
        expect(most - base, 'resident memory').to.be.at.most(limit + 64 * mebibyte)
        expect(worst, 'CPU of the server while others wait, p99').to.be.below(cpuMs)
        expect(sum('framesSetAside')).to.be.above(0)
        for (const socket of sockets) socket.destroy()
        await server.until('all given back', ({ stats: { memory } }) => memory.tasks === 0 && memory.messages === 0)
        await prober.stop()
      })
    })
  }
})
