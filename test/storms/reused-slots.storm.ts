import { once } from 'node:events'
import net from 'node:net'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Random, stormSeed } from '../support/random.js'
import { withServer } from '../support/server-process.js'

const connections = 10_000
const atOnce = 100

describe('slots and descriptors that are used again before a late reply', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it(`route none of ${connections} late replies to the next tenant`, async () => {
    const random = new Random(stormSeed())
    const plan = { app: 'storm-work', reactors: 2, pool: { size: 2, concurrency: 512 } }
    await withServer(plan, async (server) => {
      let answered = 0
      const misrouted: string[] = []
      let next = 0
      const tenants = async () => {
        while (next < connections) {
          const token = `token-${next++}`
          // Three of four leave at once; their slots are let to those who stay and listen.
          const stays = random.below(4) === 0
          const socket = net.connect(server.port, `127.0.0.${1 + random.below(8)}`)
          socket.on('error', () => {})
          await once(socket, 'connect')
          let received = ''
          socket.setEncoding('latin1').on('data', (text: string) => {
            received += text
          })
          await new Promise((resolve) => socket.write(`late ${random.below(20)} ${token}\n`.repeat(2), resolve))
          if (stays) {
            // A third frame behind the others: whatever came astray arrives before its answer.
            socket.write(`late 15 ${token}\n`)
            while (received.length < 3 * (token.length + 1)) await once(socket, 'data')
          }
          const closed = once(socket, 'close')
          // A FIN would be answered first; after an RST the slot is free at once.
          if (stays) socket.destroy()
          else socket.resetAndDestroy()
          await closed
          if (received.split('\n').some((line) => line !== '' && line !== token)) misrouted.push(`${token}: ${received}`)
          if (stays) answered += Number(received === `${token}\n`.repeat(3))
          else answered++
        }
      }
      await Promise.all(Array.from({ length: atOnce }, tenants))
      const { stats, counts, errorCount } = await server.until('all settled', (vitals) => {
        const settled = vitals.stats.workers.reduce((sum, worker) => sum + worker.framesSettled + worker.framesCancelled, 0)
        const submitted = vitals.stats.reactors.reduce((sum, reactor) => sum + reactor.framesSubmitted, 0)
        return vitals.stats.connections.open === 0 && vitals.stats.queue.frames === 0 && settled >= submitted
      })
      const late = stats.repliesUnrouted + stats.reactors.reduce((sum, reactor) => sum + reactor.repliesLate, 0)
      console.log(`    ${late} replies came too late`)
      expect(misrouted).to.deep.equal([])
      expect([answered, counts[0], counts[1], counts[2], errorCount]).to.deep.equal([connections, connections, connections, 0, 0])
      // Otherwise nothing was tried.
      expect(late).to.be.above(1_000)
    })
  })
})
