import { expect } from 'chai'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Prober } from '../support/prober.js'
import { withServer } from '../support/server-process.js'

const dribblers = 500
/** `frameTimeoutMs` of the app. */
const deadlineMs = 2_000

describe(`${dribblers} connections that dribble a frame without end`, () => {
  const atFirst = census()
  afterEach(() => expectNothingLeft(atFirst))

  for (const [name, request] of [
    ['inline', 'inline hello\n'],
    ['pool', 'echo hello\n'],
  ] as const) {
    it(`are cut at the deadline and not before, and cost nobody else anything: ${name}`, async () => {
      await withServer({ app: 'soak', listeners: ['main', 'binary'], reactors: 2, pool: 1 }, async (server) => {
        const prober = await Prober.start(server, request, 'hello\n'.length)
        const clients = await Promise.all(Array.from({ length: dribblers }, () => Client.connect(server.port)))
        const began = performance.now()
        const busy = () => {
          for (const client of clients) if (!client.closed) client.write('x')
        }
        busy()
        const timer = setInterval(busy, 100)
        const lasted = await Promise.all(clients.map((client) => client.untilClosed().then(() => performance.now() - began)))
        clearInterval(timer)
        const others = await prober.read()
        const { stats } = await server.until(
          'all were cut',
          ({ stats }) => stats.connections.closed['frame-timeout'] === dribblers,
        )
        console.log(
          `    cut after ${Math.round(Math.min(...lasted))} to ${Math.round(Math.max(...lasted))} ms; p99 of others ${others.p99} ms of CPU`,
        )
        // Measured from the first byte, which the server has seen a little later.
        expect(Math.min(...lasted)).to.be.at.least(deadlineMs - 50)
        expect(others.count).to.be.above(100)
        expect(others.p99, 'CPU of the server while others wait, p99').to.be.below(100)
        expect([prober.closed, stats.connections.open]).to.deep.equal([0, 4])
        expect(clients.every(({ received }) => received.length === 0)).to.equal(true)
        await prober.stop()
      })
    })
  }
})
