import { once } from 'node:events'
import net from 'node:net'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { endsOf, halfClose, kinds, type Try } from '../support/half_close_kinds.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Random, stormSeed } from '../support/random.js'
import { withServer } from '../support/server-process.js'

describe('half-closed connections', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('get all replies of tasks in flight, in order, and then FIN', async () => {
    const random = new Random(stormSeed())
    await withServer({ app: 'storm-work', reactors: 2, pool: 2 }, async (server) => {
      const clients = await Promise.all(Array.from({ length: 300 }, () => Client.connect(server.port, { allowHalfOpen: true })))
      await Promise.all(
        clients.map(async (client, number) => {
          const tokens = Array.from({ length: 40 }, (_, i) => `${number}-${i}`)
          const commands = tokens.map((token) => (random.below(2) ? `echo ${token}\n` : `late ${random.below(30)} ${token}\n`))
          client.socket.end(commands.join(''))
          await client.untilClosed()
          expect(client.error).to.equal(undefined)
          expect(client.ended).to.equal(true)
          expect(client.received.toString()).to.equal(tokens.map((token) => `${token}\n`).join(''))
        }),
      )
      const { counts, stats } = await server.until('all closed', ({ stats }) => stats.connections.open === 0)
      expect(counts.slice(0, 3)).to.deep.equal([300, 300, 0])
      expect(stats.connections.closed.end).to.equal(300)
    })
  })

  for (const [name, app, pool] of [
    ['inline', 'storm-echo', 0],
    ['pool', 'storm-work', 1],
  ] as const) {
    it(`get ${name} replies that waited in the out buffer, and then FIN`, async () => {
      const line = `${'x'.repeat(999)}\n`
      const count = 12_000
      const command = pool ? 'echo ' : ''
      await withServer({ app, reactors: 1, pool }, async (server) => {
        const socket = net.connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true })
        socket.pause()
        await once(socket, 'connect')
        socket.end((command + line).repeat(count))
        await server.untilStalled()
        let received = 0
        let wrong = 0
        socket.on('data', (chunk: Buffer) => {
          for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1))
            wrong += Number((received + at) % 1_000 !== 999)
          received += chunk.length
        })
        socket.resume()
        await once(socket, 'end')
        expect([received, wrong]).to.deep.equal([count * 1_000, 0])
        socket.destroy()
        await server.until('closed', ({ stats }) => stats.connections.closed.end === 1)
      })
    })
  }
})

describe('requests with their end behind them', () => {
  for (const kind of kinds) {
    for (const end of endsOf(kind)) {
      it(`get the whole answer 100 of 100 times, through a reload too: ${kind.name}, ${end}`, async () => {
        const tries = Array.from({ length: 100 }, (_, i): Try => [i % 2 === 0 ? 'large' : 'small', end])
        for (const reloads of [false, true]) expect(await halfClose(kind, tries, reloads)).to.deep.equal([])
      })
    }
  }
})
