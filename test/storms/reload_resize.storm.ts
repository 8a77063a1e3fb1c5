// New code and other numbers of threads, again and again, under the eyes of clients that check every byte.
import { expect } from 'chai'
import { cell } from '../fixtures/storm-counts.js'
import { Client } from '../support/client.js'
import { Crowd } from '../support/crowd.js'
import { Faults } from '../support/faults.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Random, stormSeed } from '../support/random.js'
import { type ServerProcess, withServer } from '../support/server-process.js'

const scale = Number(process.env['STORM_SCALE'] ?? 1)
const changes = 100 * scale
const mebibyte = 1 << 20
const start = { reactors: 2, pool: 2 }
const most = { reactors: 4, pool: 3 }

/** Answered by the reactor or by the pool, in one order. */
function ask(token: string, random: Random) {
  return random.below(3) === 0
    ? { line: `inline ${token}`, reply: `inline ${token}\n` }
    : { line: `echo ${token}`, reply: `${token}\n` }
}

function crowd(server: ServerProcess, random: Random): Crowd {
  return new Crowd(server.port, { visitors: 12, residents: 12, ask, random })
}

describe('reloads and resizes under load', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it(`${changes} of them: no client notices, and nothing is left of the threads that went`, async () => {
    const random = new Random(stormSeed())
    await withServer({ app: 'storm-both', ...start }, async (server) => {
      // Permanent allocations, as the mailboxes of more threads, have been made from here on.
      await server.resize(most)
      await server.reload()
      await server.resize(start)
      const first = await server.vitals()
      const clients = crowd(server, random)
      const resident: number[] = []
      const began = performance.now()
      for (let i = 0; i < changes; i++) {
        if (i % 3 === 0) await server.reload()
        else await server.resize({ reactors: 1 + random.below(most.reactors), pool: 1 + random.below(most.pool) })
        await clients.answers(50)
        if (i % Math.ceil(changes / 5) === 0) resident.push((await server.vitals()).rss)
      }
      await server.resize(start)
      await clients.stop()
      expect(clients.failures).to.deep.equal([])
      const last = await server.until(
        `all is back: ${first.fds} descriptors, ${first.threads} threads`,
        ({ stats, fds, threads }) => stats.connections.open === 0 && fds <= first.fds && threads <= first.threads + 1,
      )
      resident.push(last.rss)
      const { visits, answered } = clients
      const took = ((performance.now() - began) / 1_000).toFixed(0)
      console.log(
        `    ${took} s, ${visits} visits, ${answered} answers; MiB ${resident.map((rss) => Math.round(rss / mebibyte)).join(', ')}`,
      )
      const { closed, accepted } = last.stats.connections
      const [opened, ended, wrong] = last.counts
      expect([opened, ended, wrong]).to.deep.equal([accepted, accepted, 0])
      expect(closed.end, 'closed by their peers').to.equal(accepted)
      expect([last.errorCount, last.replaced, last.reactorsReplaced]).to.deep.equal([0, [], []])
      // A resize in three has fewer reactors than before, and moves some of the twelve that stay: how many is chance, 99 to 160 seen.
      expect(
        last.stats.reactors.reduce((sum, { moved }) => sum + moved, 0),
        'moved',
      ).to.be.above(changes / 4)
      // The heaps of as many threads as there are just then come and go with it; a single thread left behind by each change would
      // cost ten times as much.
      expect(resident.at(-1)! - resident[2]!, 'growth after the first two fifths').to.be.at.most(64 * mebibyte)
    })
  })

  it('cannot shrink under load where the kernel does not steer: the check above can fail', async () => {
    const random = new Random(stormSeed())
    Faults.build()
    const faults = new Faults()
    try {
      await withServer({ app: 'storm-both', reactors: 2, pool: 1, faults }, async (server) => {
        const clients = crowd(server, random)
        const visitsBefore = clients.visits
        await server.resize({ reactors: 1 })
        const visits = clients.visits - visitsBefore
        await server.resize({ reactors: 2 })
        const refused = faults.inject({ call: 'steer', error: 'EPERM' })
        // The kernel goes on to give half of the new connections to the listening socket that is to close: it is never quiet.
        let shrunk = false
        const shrink = server.resize({ reactors: 1 }).then(() => {
          shrunk = true
        })
        while (clients.visits < visitsBefore + 4 * visits) await clients.answers(1)
        expect(refused.happened).to.equal(1)
        expect(shrunk).to.equal(false)
        // No connection is reset all the same: it closes when no more connections come.
        await clients.stop()
        await shrink
        expect(clients.failures).to.deep.equal([])
        console.log(`    ${visits} visits while it shrank, ${clients.visits} in all`)
      })
    } finally {
      faults.close()
    }
  })

  // The same clients, at the one moment that matters: a listening socket goes, and the kernel has given it connections.
  for (const [protection, fails] of [
    ['with the protection on: nobody is reset', false],
    ['with the steering off and the socket closed at once: the same check fails', true],
  ] as const) {
    it(`takes a listening socket away while hundreds are queued on it, ${protection}`, async () => {
      Faults.build()
      const faults = new Faults()
      try {
        await withServer({ app: 'storm-gate', reactors: 2, pool: 0, faults }, async (server) => {
          const abrupt = fails ? faults.inject({ call: 'abrupt', error: 'EPERM' }) : undefined
          const blocker = await server.clientOn(1)
          blocker.write('gate\n')
          await server.until('reactor 1 is blocked', ({ counts }) => counts[cell.started] === 1)
          // Many more than it accepts before it hears that it is to go.
          const visitors = await Promise.all(Array.from({ length: 800 }, () => Client.connect(server.port)))
          for (const [i, client] of visitors.entries()) client.write(`visitor ${i}\n`)
          const shrunk = server.resize({ reactors: 1 })
          for (let asked = 0; asked < 5; asked++) await server.vitals()
          await server.release(cell.gate)
          const answers = await Promise.allSettled(visitors.map((client) => client.lines(1)))
          await shrunk
          const failed = answers.filter((answer) => answer.status === 'rejected').length
          for (const [i, answer] of answers.entries()) {
            if (answer.status === 'fulfilled') expect(answer.value).to.deep.equal([`visitor ${i}`])
          }
          console.log(`    ${failed} of ${visitors.length} failed`)
          if (fails) {
            expect(abrupt!.happened).to.be.above(0)
            expect(failed).to.be.above(0)
            expect(visitors.some(({ error }) => (error as NodeJS.ErrnoException | undefined)?.code === 'ECONNRESET')).to.equal(
              true,
            )
          } else {
            expect(failed).to.equal(0)
          }
          for (const client of [blocker, ...visitors]) client.destroy()
        })
      } finally {
        faults.close()
      }
    })
  }
})
