import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { type ServerProcess, type Vitals, withServer } from '../support/server-process.js'

/** 5 makes it 100,000 connections. */
const scale = Number(process.env['STORM_SCALE'] ?? 1)
const rounds = 5
const atOnce = 2_000
const eachRound = 2 * scale * atOnce
const idle = 10_000
/**
 * Both reactors have a few timers, with any number of connections: many more turns than they need, many fewer than a look at each connection.
 */
const idleTurns = 1_000
const mebibyte = 1 << 20

describe('many connections', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it(`serves ${rounds * eachRound}, ${atOnce} at once, and holds no descriptor and no memory of them`, async () => {
    await withServer({ app: 'storm-echo', reactors: 2, pool: 0 }, async (server) => {
      const fds = (await server.vitals()).fds
      const resident: number[] = []
      let served = 0
      let collected = 0
      for (let round = 1; round <= rounds; round++) {
        const serial = async () => {
          for (let i = 0; i < eachRound / atOnce; i++) {
            const answered = await connectAndAsk(server.port, i)
            served += answered
          }
        }
        await Promise.all(Array.from({ length: atOnce }, serial))
        await server.until('all closed', ({ counts }) => counts[1] === round * eachRound + collected)
        collected += await collectGarbage(server)
        resident.push((await server.vitals()).rss)
      }
      const vitals = await server.until('descriptors are back', ({ fds: now }) => Math.abs(now - fds) <= 2)
      console.log(`    resident after each round: ${resident.map((rss) => (rss / mebibyte).toFixed(1)).join(', ')} MiB`)
      const total = rounds * eachRound + collected
      expect([served + collected, ...vitals.counts.slice(0, 3), vitals.errorCount]).to.deep.equal([total, total, total, 0, 0])
      expect(resident.at(-1)! - resident[1]!, 'growth from the second to the last round').to.be.at.most(4 * mebibyte)
    })
  })

  it(`holds ${idle} idle ones without work, and serves each of them`, async () => {
    await withServer({ app: 'storm-echo', reactors: 2, pool: 0 }, async (server) => {
      const fds = (await server.vitals()).fds
      const sockets: net.Socket[] = []
      while (sockets.length < idle) {
        const some = Array.from({ length: 500 }, (_, i) => net.connect(server.port, host(i)))
        await Promise.all(some.map((socket) => once(socket, 'connect')))
        sockets.push(...some)
      }
      const first = await server.until('all accepted', ({ counts }) => counts[0] === idle)
      const turns = ({ stats }: Vitals) => stats.reactors.reduce((sum, reactor) => sum + reactor.turns, 0)
      // Not to wait for anything: the time over which the work of doing nothing is counted.
      await delay(2_000)
      const second = await server.vitals()
      console.log(`    ${turns(second) - turns(first)} turns without anything to do`)
      expect(turns(second) - turns(first)).to.be.below(idleTurns)
      for (let at = 0; at < idle; at += 500) {
        await Promise.all(
          sockets.slice(at, at + 500).map(async (socket, i) => {
            socket.write(`${at + i}`)
            expect(String((await once(socket, 'data'))[0])).to.equal(`${at + i}`)
          }),
        )
      }
      for (const socket of sockets) socket.destroy()
      await server.until('all closed', ({ fds: now, counts }) => counts[1] === idle && Math.abs(now - fds) <= 2)
    })
  })
})

/** Garbage of the reactors' threads counts as memory until their collectors run: enough visits to reach both threads. */
async function collectGarbage(server: ServerProcess): Promise<number> {
  const visits = 32
  for (let i = 0; i < visits; i++) {
    const client = await Client.connect(server.port)
    client.write('gc\n')
    await client.lines(1)
    client.socket.end()
    await client.untilClosed()
  }
  return visits
}

function host(number: number): string {
  return `127.0.0.${1 + (number % 8)}`
}

/** 1 when it was answered. */
async function connectAndAsk(port: number, number: number): Promise<number> {
  const socket = net.connect(port, host(number))
  await once(socket, 'connect')
  socket.write('x')
  const [answer] = await once(socket, 'data')
  const closed = once(socket, 'close')
  socket.destroy()
  await closed
  return Number(String(answer) === 'x')
}
