// Threads that die in every way, in the middle of load. Also run with an addon that is compiled with sanitizers, where any misuse of
// memory ends the server, and unfreed memory is an error when it exits: `node scripts/sanitized-in-node.mjs`.
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { Crowd } from '../support/crowd.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Random, stormSeed } from '../support/random.js'
import { ServerProcess, type ServerPlan } from '../support/server-process.js'
import { ask } from '../soak/asks.js'

const scale = Number(process.env['STORM_SCALE'] ?? 1)
/** In tens: each ten has every way in it. */
const workerDeaths = 10 * Math.max(1, Math.round(5 * scale))
/** In fours. Which reactor dies is the kernel's choice, and the ninth death of one within a minute would be a crash loop. */
const reactorDeaths = 4 * Math.min(2, Math.max(1, Math.round(2 * scale)))
/** So many that each dies only a few times: successors are quick only for threads that die seldom. */
const workers = 8
const reactors = 2

const plan: ServerPlan = {
  app: 'soak',
  listeners: ['main', 'binary'],
  reactors,
  pool: { size: workers, taskTimeoutMs: 4_000 },
  hookTimeoutMs: 2_000,
  resourceLimits: { maxOldGenerationSizeMb: 48 },
}

describe('threads that die in the middle of load', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it(`${workerDeaths} workers: whoever had a frame in one is closed at most, all others are answered, and all are replaced`, async () => {
    await underLoad(async (server, crowd) => {
      for (let i = 0; i < workerDeaths; i++) {
        // Most of them quickly: a heap takes a while to fill, and a loop to be noticed. Each reload terminates all of them.
        const how = i % 10 === 4 ? 'loop' : i % 10 === 7 ? 'heap' : i % 3 === 0 ? 'throw' : 'exit'
        await crowd.answers(20)
        const client = await Client.connect(server.port)
        client.write(`die ${how}\n`)
        await client.untilClosed()
        expect(client.received.toString()).to.equal('')
        await server.until(`death ${i + 1}, ${how}`, ({ replaced }) => replaced.length > i)
        if (i % 10 === 9) await server.reload()
      }
      const { replaced, stats } = await server.vitals()
      expect(replaced).to.have.length(workerDeaths)
      const stuck = replaced.filter(({ reason }) => reason === 'timeout').length
      const full = replaced.filter(({ error }) => /memory/i.test(`${error}`)).length
      expect(stuck).to.be.at.least(workerDeaths / 10)
      // On a busy machine a heap may take longer to fill than a frame may run, and others may, too.
      expect(stuck + full).to.be.at.least((2 * workerDeaths) / 10)
      return stats.connections.closed['task-lost'] + stats.connections.closed['task-timeout'] - workerDeaths
    })
  })

  it(`${reactorDeaths} reactors: nobody is cut but he whose frame it was`, async () => {
    await underLoad(async (server, crowd) => {
      for (let i = 0; i < reactorDeaths; i++) {
        const how = ['exit', 'throw', 'loop', 'exit'][i % 4]!
        await crowd.answers(50)
        const client = await Client.connect(server.port)
        client.write(`end ${how}\n`)
        await server.until(`death ${i + 1}, ${how}`, ({ reactorsReplaced }) => reactorsReplaced.length > i)
        client.socket.end()
        await client.untilClosed()
        if (i % 4 === 3) await server.reload()
      }
      return 0
    })
  })
})

/** Runs `work` beside a crowd. It returns how many of the crowd may have been cut. */
async function underLoad(work: (server: ServerProcess, crowd: Crowd) => Promise<number>): Promise<void> {
  const server = await ServerProcess.start(plan)
  try {
    const crowd = new Crowd(server.port, { visitors: 4, residents: 6, ask, random: new Random(stormSeed()) })
    let cut = 0
    try {
      cut = await work(server, crowd)
    } finally {
      await crowd.stop()
    }
    expect(crowd.wrong).to.deep.equal([])
    expect(crowd.failures.length, crowd.failures.slice(0, 5).join('; ')).to.be.at.most(cut)
    const { stats } = await server.until('all left', ({ stats }) => stats.connections.open === 0)
    expect(stats.memory.tasks + stats.memory.messages + stats.memory.buffered).to.equal(0)
    await server.exit()
  } finally {
    await server.kill()
  }
}
