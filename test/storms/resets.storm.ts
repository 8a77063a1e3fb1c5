import { once } from 'node:events'
import net from 'node:net'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Random, stormSeed } from '../support/random.js'
import { withServer } from '../support/server-process.js'

const connections = 5_000
const atOnce = 250

const plans = [
  ['inline', { app: 'storm-echo', reactors: 2, pool: 0 }, Buffer.alloc(200_000, 'y'), 'x'],
  ['pool', { app: 'storm-work', reactors: 2, pool: 2 }, Buffer.from(`echo ${'y'.repeat(900)}\n`.repeat(200)), 'late 5 x\n'],
] as const

describe('connections ended by RST', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  for (const [name, plan, large, small] of plans) {
    it(`${name}: each of ${connections} closes once, throws nothing into the app, and gives its descriptor back`, async () => {
      const random = new Random(stormSeed())
      await withServer(plan, async (server) => {
        const fds = (await server.vitals()).fds
        const storm = async () => {
          for (let i = 0; i < connections / atOnce; i++) await reset(server.port, random, large, small)
        }
        await Promise.all(Array.from({ length: atOnce }, storm))
        const { counts, errorCount, errors, stats } = await server.until(
          'descriptors and connections are back',
          ({ fds: now, stats, counts }) => now <= fds && stats.connections.open === 0 && counts[0] === counts[1],
          3_000,
        )
        const [opened, closed, wrong] = counts
        expect([closed, wrong, errorCount, errors]).to.deep.equal([opened, 0, 0, []])
        expect(opened).to.equal(connections)
        expect(stats.connections.accepted).to.equal(connections)
        const reasons = Object.entries(stats.connections.closed).filter(([, count]) => count > 0)
        console.log(`    ${reasons.map(([reason, count]) => `${reason} ${count}`).join(', ')}; late ${stats.repliesUnrouted}`)
        expect(stats.connections.closed.reset).to.be.above(connections / 4)
        expect(stats.connections.closed['system-error']).to.equal(0)
      })
    })
  }
})

/** At once, after a request, with replies that it has not read, after an answer, or with its own half closed. */
async function reset(port: number, random: Random, large: Buffer, small: string): Promise<void> {
  const socket = net.connect({ port, host: `127.0.0.${1 + random.below(8)}`, allowHalfOpen: true })
  socket.on('error', () => {})
  const way = random.below(5)
  if (way === 2) socket.pause()
  await once(socket, 'connect')
  if (way === 1) socket.write(small)
  if (way === 2) await new Promise((resolve) => socket.write(large, resolve))
  if (way === 3) {
    socket.write(small)
    await once(socket, 'data')
  }
  // libuv resets no socket whose FIN is still to be sent.
  if (way === 4) await new Promise<void>((resolve) => socket.end(small, resolve))
  const closed = once(socket, 'close')
  socket.resetAndDestroy()
  await closed
}
