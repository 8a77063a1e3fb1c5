// The threads of reactors die in the middle of load, in each of the ways a thread can die: 50 times.
import { expect } from 'chai'
import { Crowd } from '../support/crowd.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Random, stormSeed } from '../support/random.js'
import { withServer } from '../support/server-process.js'

const ways = ['exit', 'throw', 'reject', 'loop', 'heap'] as const
const reactors = 2
/** For each way. Nine within a minute are a crash loop of one reactor. */
const deaths = 10

const plan = (way: string) => ({
  reactors,
  // A thread that waits for a core as long as this is taken for one that loops: long enough for a machine that is busy.
  hookTimeoutMs: way === 'loop' ? 2_000 : 30_000,
  ...(way === 'heap' ? { resourceLimits: { maxOldGenerationSizeMb: 32 } } : {}),
})
const cause: Record<string, RegExp> = { throw: /out of nowhere/, reject: /nobody waits/, heap: /memory/i }

describe('the threads of reactors die in the middle of load', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  for (const way of ways) {
    it(`${way}, ${deaths} times, where the app has only parse: nobody notices`, async () => {
      const random = new Random(stormSeed())
      await withServer({ app: 'storm-mortal', ...plan(way), pool: 2 }, async (server) => {
        const ask = (token: string) => ({ line: `echo ${token}`, reply: `${token}\n` })
        const crowd = new Crowd(server.port, { visitors: 8, residents: 16, ask, random })
        for (let i = 0; i < deaths; i++) {
          await crowd.answers(200)
          await server.killReactor(i % reactors, way)
        }
        // The successors drive the connections that are left.
        await crowd.answers(2_000)
        await crowd.stop()
        expect(crowd.failures).to.deep.equal([])
        const { stats, reactorsReplaced } = await server.until('all left', ({ stats }) => stats.connections.open === 0)
        expectDeaths(reactorsReplaced, way)
        expect(stats.connections.closed.end).to.equal(stats.connections.accepted)
        expect([stats.queue.frames, stats.repliesUnrouted]).to.deep.equal([0, 0])
        console.log(`    ${crowd.visits} visits, ${crowd.answered} answers`)
      })
    })

    it(`${way}, ${deaths} times, in a message hook: costs the connection that was being handled`, async () => {
      const random = new Random(stormSeed())
      await withServer({ app: 'storm-mortal-inline', ...plan(way), pool: 0 }, async (server) => {
        const ask = (token: string) => ({ line: token, reply: `${token}\n` })
        const crowd = new Crowd(server.port, { visitors: 8, residents: 16, ask, random })
        // The hook has returned before these two reach the thread: the connection is not its own any more.
        const survives = way === 'throw' || way === 'reject'
        for (let i = 0; i < deaths; i++) {
          await crowd.answers(200)
          const victim = await server.clientOn(i % reactors)
          victim.write(`${way}\n`)
          const { reactorsReplaced } = await server.until(
            `death ${i + 1}`,
            ({ reactorsReplaced }) => reactorsReplaced.length > i,
            20_000,
          )
          expect(reactorsReplaced[i]!.index).to.equal(i % reactors)
          if (survives) {
            victim.write('who\n')
            expect(await victim.lines(2)).to.deep.equal([`${i % reactors}`, `${i % reactors}`])
            victim.socket.end()
          }
          await victim.untilClosed()
        }
        await crowd.answers(2_000)
        await crowd.stop()
        expect(crowd.failures).to.deep.equal([])
        const { stats, reactorsReplaced } = await server.until('all left', ({ stats }) => stats.connections.open === 0)
        expectDeaths(reactorsReplaced, way)
        expect(stats.connections.closed['thread-lost']).to.equal(survives ? 0 : deaths)
        expect(stats.connections.closed.end).to.equal(stats.connections.accepted - (survives ? 0 : deaths))
      })
    })
  }

  it('the connections of another reactor wait for nothing', async () => {
    await withServer({ app: 'storm-mortal-inline', reactors, pool: 0, hookTimeoutMs: 2_000 }, async (server) => {
      const others = await Promise.all(Array.from({ length: 4 }, () => server.clientOn(1)))
      let answered = 0
      let going = true
      const talk = others.map(async (client) => {
        for (let lines = 2; going; lines++) {
          client.write('who\n')
          await client.lines(lines)
          answered++
          await new Promise(setImmediate)
        }
      })
      const meanwhile: number[] = []
      for (const [i, way] of ['exit', 'throw', 'loop', 'exit', 'loop'].entries()) {
        const victim = await server.clientOn(0)
        const before = answered
        victim.write(`${way}\n`)
        await server.until(`death ${i + 1}`, ({ reactorsReplaced }) => reactorsReplaced.length > i)
        // Until it is dead and has a successor; clients that waited for that had no answer meanwhile.
        meanwhile.push(answered - before)
        victim.destroy()
      }
      going = false
      await Promise.all(talk)
      console.log(`    answers during each death: ${meanwhile.join(', ')}`)
      // More than the one that each of them may have had on its way.
      expect(Math.min(...meanwhile)).to.be.above(2 * others.length)
      for (const client of others) client.destroy()
    })
  })
})

function expectDeaths(replaced: { index: number; reason: string; error: string | undefined }[], way: string): void {
  expect(replaced.map(({ index }) => index)).to.deep.equal(Array.from({ length: deaths }, (_, i) => i % reactors))
  for (const { reason, error } of replaced) {
    expect(reason).to.equal(way === 'loop' ? 'stuck' : 'exit')
    if (cause[way]) expect(error).to.match(cause[way])
  }
}
