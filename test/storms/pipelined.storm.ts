import { expect } from 'chai'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Prober } from '../support/prober.js'
import { withServer } from '../support/server-process.js'

const frames = 100_000

describe('100,000 pipelined frames on one connection', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  for (const [name, app, pool, command, request, replyBytes] of [
    ['inline', 'storm-both', 1, 'inline', 'inline hello\n', 13],
    ['pool', 'storm-work', 2, 'echo', 'echo hello\n', 6],
  ] as const) {
    it(`${name}: all are answered in order, and others are answered between them`, async () => {
      await withServer({ app, reactors: 1, pool }, async (server) => {
        const prober = await Prober.start(server, request, replyBytes)
        // The first answers are slow until the code is compiled.
        await prober.after(500)
        const client = await Client.connect(server.port)
        const wire = Buffer.from(Array.from({ length: frames }, (_, i) => `${command} ${i}\n`).join(''))
        const expected = name === 'inline' ? wire : Buffer.from(Array.from({ length: frames }, (_, i) => `${i}\n`).join(''))
        // Three times, so that others are asked often enough meanwhile.
        for (let round = 1; round <= 3; round++) {
          client.received = Buffer.alloc(0)
          client.write(wire)
          expect((await client.bytes(expected.length)).equals(expected), `round ${round}`).to.equal(true)
        }
        const storm = await prober.read()
        console.log(`    p99 of others ${storm.p99} ms of CPU, of ${storm.count}`)
        expect(storm.count).to.be.above(20)
        expect(storm.p99, 'CPU of the server while others wait, p99').to.be.below(200)
        expect(prober.closed).to.equal(0)
        await prober.stop()
        client.destroy()
      })
    })
  }
})
