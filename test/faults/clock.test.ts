import { expect } from 'chai'
import { cell } from '../fixtures/storm-counts.js'
import { Client } from '../support/client.js'
import { Faults } from '../support/faults.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { withServer } from '../support/server-process.js'

const hourS = 3_600
/** Longer than the app lets a connection be silent. */
const talkMs = 1_500

describe('a wall clock that is set back by an hour, and forward again', () => {
  before(function () {
    this.timeout(120_000) // the first time, a compiler runs
    Faults.build()
  })
  const atFirst = census()
  afterEach(() => expectNothingLeft(atFirst))

  it('cuts nobody who talks, cuts who is silent no later, and hurries or delays no timer', async function () {
    this.timeout(120_000)
    const faults = new Faults()
    try {
      await withServer(
        { app: 'storm-timeouts', reactors: 2, pool: { size: 1, taskTimeoutMs: 10_000 }, faults },
        async (server) => {
          const clients = await Promise.all(Array.from({ length: 16 }, () => Client.connect(server.port)))
          let rounds = 0
          /** For longer than the app lets a connection be silent, and for as long as something else takes. */
          const talkWhile = async (other: Promise<void>) => {
            let over = false
            const done = other.finally(() => {
              over = true
            })
            for (const until = performance.now() + talkMs; performance.now() < until || !over; ) {
              rounds++
              for (const [i, client] of clients.entries()) client.write(`${i % 2 ? 'inline' : 'late 20'} ${rounds}\n`)
              for (const client of clients) await client.lines(rounds)
            }
            await done
          }
          /** One that never says anything closes after its second, and not in an hour. */
          const silent = async () => {
            const client = await Client.connect(server.port)
            await client.untilClosed()
          }
          await talkWhile(silent())
          const ahead = async () => (await server.vitals()).wallMs - Date.now()
          expect(Math.abs(await ahead())).to.be.below(60_000)

          const fault = faults.inject({ call: 'wall_clock', atMost: hourS })
          expect(await ahead()).to.be.below(-hourS * 1_000 + 60_000)
          await talkWhile(silent())
          expect(fault.happened).to.be.above(0)
          fault.stop()
          expect(Math.abs(await ahead())).to.be.below(60_000)
          await talkWhile(silent())

          const { stats, errors, replaced, reactorsReplaced, counts } = await server.vitals()
          expect([stats.connections.open, stats.connections.closed.timeout]).to.deep.equal([clients.length, 3])
          expect([errors, replaced, reactorsReplaced, counts[cell.wrong]]).to.deep.equal([[], [], [], 0])
          for (const client of clients) client.destroy()
        },
      )
    } finally {
      faults.close()
    }
  })
})
