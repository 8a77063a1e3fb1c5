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
    const plan = { app: 'storm-work', reactors: 2, pool: { size: 2, concurrency: 1024 } }
    await withServer(plan, async (server) => {
      let answered = 0
      const misrouted: string[] = []
      let next = 0
      const tenants = async () => {
        while (next < connections) {
          const token = `token-${next++}`
          // One of four stays and listens, one leaves at once (on a busy machine before anything of it was read), and two when a worker
          // has begun with their frames: their replies come late for sure, to slots that others have by then.
          const leaves = (['no', 'at once', 'begun', 'begun'] as const)[random.below(4)]!
          const stays = leaves === 'no'
          const socket = net.connect(server.port, `127.0.0.${1 + random.below(8)}`)
          socket.on('error', () => {})
          await once(socket, 'connect')
          let received = ''
          socket.setEncoding('latin1').on('data', (text: string) => {
            received += text
          })
          const frames = `late ${random.below(stays ? 20 : 200)} ${token}\n`.repeat(2)
          // Frames of one packet go to a worker together.
          await new Promise((resolve) => socket.write(leaves === 'begun' ? `echo ${token}\n${frames}` : frames, resolve))
          if (leaves === 'begun') while (received.length < token.length + 1) await once(socket, 'data')
          if (stays) {
            // A third frame behind the others: stray replies arrive before its answer.
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
      // Otherwise nothing was tried: half of the visits leave two replies each, but for those whose end is noticed too late.
      expect(late).to.be.above(1_000)
    })
  })
})
