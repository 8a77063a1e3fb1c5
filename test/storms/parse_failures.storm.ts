import { expect } from 'chai'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { withServer } from '../support/server-process.js'

const ways = ['throw', 'reject', 'garbage', 'promised-garbage'] as const
const count = 100

describe('parse that fails', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  for (const way of ways) {
    it(`${way}: the error hook settles ${count} of ${count}, each at its place`, async () => {
      await withServer({ app: 'storm-answered', reactors: 2, pool: 2 }, async (server) => {
        const clients = await Promise.all(Array.from({ length: 10 }, () => Client.connect(server.port)))
        await Promise.all(
          clients.map(async (client, c) => {
            const numbers = Array.from({ length: count / 10 }, (_, i) => c * 10 + i)
            client.write(numbers.map((n) => `echo ${n}\n${way} ${n}\n`).join(''))
            const lines = await client.lines(2 * numbers.length)
            for (const [i, n] of numbers.entries()) {
              expect(lines[2 * i]).to.equal(`${n}`)
              if (way === 'throw' || way === 'reject') expect(lines[2 * i + 1]).to.equal(`error ${n}`)
              else expect(lines[2 * i + 1]).to.match(/^error a reply must be a string/)
            }
            client.destroy()
          }),
        )
        const { stats, counts, replaced } = await server.until('closed', ({ stats }) => stats.connections.open === 0)
        expect([counts[0], counts[1], counts[2], replaced]).to.deep.equal([10, 10, 0, []])
        expect(stats.connections.closed['parse-error']).to.equal(0)
      })
    })

    it(`${way}: without the hook each of ${count} closes its own connection only`, async () => {
      await withServer({ app: 'storm-work', reactors: 2, pool: 2 }, async (server) => {
        const clients = await Promise.all(Array.from({ length: 2 * count }, () => Client.connect(server.port)))
        for (const [i, client] of clients.entries())
          client.write(i % 2 ? `echo ${i}\n` : `echo before\n${way} ${i}\necho behind\n`)
        for (const [i, client] of clients.entries()) {
          if (i % 2) {
            expect(await client.lines(1)).to.deep.equal([`${i}`])
          } else {
            await client.untilClosed()
            expect(client.received.toString(), 'what was answered').to.equal('before\n')
          }
        }
        const { stats, errorCount } = await server.until('told', (vitals) => vitals.errorCount >= count)
        expect([stats.connections.open, stats.connections.closed['parse-error'], errorCount]).to.deep.equal([count, count, count])
        for (const [i, client] of clients.entries()) {
          if (i % 2) {
            client.write('echo still\n')
            expect((await client.lines(2))[1]).to.equal('still')
          }
          client.destroy()
        }
      })
    })
  }
})
