// Mixed load for a long time, with every fault of this repository's storms happening in the middle of it, at random from a seed.
// Two minutes in `npm run check:all`; by hand, after a build, half an hour:
//   SOAK_MINUTES=30 npx mocha --timeout 0 test/dist/soak/soak.storm.js
import { expect } from 'chai'
import { Crowd } from '../support/crowd.js'
import { Faults } from '../support/faults.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Random, stormSeed } from '../support/random.js'
import { type ServerPlan, withServer } from '../support/server-process.js'
import { ask } from './asks.js'
import { Injuries, withinTime } from './injuries.js'

const minutes = Number(process.env['SOAK_MINUTES'] ?? 2)
const soakMs = minutes * 60_000
/** Looked at so often, always with as many threads, and fresh ones. The first third warms the allocator up. */
const looks = 12
const mebibyte = 1 << 20
const most = { reactors: 3, pool: 3 }
const start = { reactors: 2, pool: 2 }
const plan: ServerPlan = {
  app: 'soak',
  listeners: ['main', 'binary'],
  reactors: start.reactors,
  pool: { size: start.pool, taskTimeoutMs: 5_000 },
  hookTimeoutMs: 3_000,
  resourceLimits: { maxOldGenerationSizeMb: 40 },
  // One arena for all threads: memory freed by one is used by the others. With one for each, free memory grows for minutes.
  env: { MALLOC_ARENA_MAX: '1' },
}

describe(`a soak of ${minutes} minutes`, function () {
  this.timeout(soakMs * 2 + 300_000)
  const atFirst = census()
  const faults = new Faults()
  before(() => Faults.build())
  after(() => faults.close())
  afterEach(() => expectNothingLeft(atFirst))

  it('answers nobody wrongly, cuts only whom a fault has hit, and ends with the memory, descriptors and threads it began with', async () => {
    const random = new Random(stormSeed())
    await withServer({ ...plan, faults }, async (server) => {
      const state = async () => JSON.stringify(await server.vitals())
      // Permanent allocations have been made from here on.
      await server.resize(most)
      await server.reload()
      await server.resize(start)
      const first = await server.vitals()
      const crowd = new Crowd(server.port, { visitors: 8, residents: 12, ask, random })
      const injuries = new Injuries(server, faults, random, { most, start })
      const beganAt = performance.now()
      const resident: number[] = []
      try {
        for (let look = 1; look <= looks; look++) {
          await injuries.until(beganAt + (soakMs * look) / looks)
          await withinTime(server.resize(start), state)
          await withinTime(server.reload(), state)
          // Without the memory that it reports for its connections: a flood may be under way.
          const { rss, stats } = await server.vitals()
          resident.push(rss - stats.memory.sum)
        }
        await injuries.untilEachHappened()
      } finally {
        injuries.stop()
        await withinTime(crowd.stop(), state)
      }
      await server.resize(start)
      const last = await server.until(
        `all is back: ${first.fds} descriptors, ${first.threads} threads`,
        ({ stats, fds, threads }) => stats.connections.open === 0 && fds <= first.fds + 2 && threads <= first.threads + 1,
        60_000,
      )
      const { closed, accepted } = last.stats.connections
      console.log(`    ${crowd.visits} visits, ${crowd.answered} answers, ${crowd.failures.length} cut`)
      console.log(`    happened: ${injuries.summary()}`)
      console.log(`    closed: ${JSON.stringify(Object.fromEntries(Object.entries(closed).filter(([, count]) => count > 0)))}`)
      console.log(`    MiB resident: ${resident.map((rss) => Math.round(rss / mebibyte)).join(', ')}`)
      expect(crowd.wrong, 'wrong or misplaced answers').to.deep.equal([])
      expect(injuries.wrong, 'of those who suffered the faults').to.deep.equal([])
      expect(injuries.missing(), 'faults that did not happen').to.deep.equal([])
      expect(
        Object.values(closed).reduce((sum, count) => sum + count, 0),
        'closed once each',
      ).to.equal(accepted)
      // Any other closed connection was hit by one of these: the thread of its frame died, or the kernel refused it.
      const hit = ['task-lost', 'task-timeout', 'system-error', 'thread-lost', 'frame-timeout', 'write-timeout'] as const
      const hits = hit.reduce((sum, reason) => sum + closed[reason], 0) - injuries.victims
      expect(crowd.failures.length, `cut, of whom ${hits} were hit: ${crowd.failures.slice(0, 5).join('; ')}`).to.be.at.most(hits)
      expect([closed['memory-limit'], closed['malformed-frame'], closed['handler-error'], closed['slow-consumer']]).to.deep.equal(
        [0, 0, 0, 0],
      )
      expect(last.stats.queue).to.deep.equal({ tasks: 0, frames: 0, bytes: 0 })
      expect(last.stats.memory.tasks + last.stats.memory.messages + last.stats.memory.buffered).to.equal(0)
      // Over the whole time, however long: a small leak with each fault is a large one in half an hour.
      // By the least of each third: a heap that grows before the look or a trim after it makes more of it, and little makes less.
      const least = (from: number) => Math.min(...resident.slice(from, from + looks / 3))
      const growth = 3 * (least((2 * looks) / 3) - least(looks / 3))
      console.log(`    growth in ${minutes} minutes: ${(growth / mebibyte).toFixed(1)} MiB`)
      expect(growth, 'bytes by which memory grows over the run').to.be.at.most(64 * mebibyte)
    })
  })
})
