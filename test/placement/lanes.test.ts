import { readdirSync, readFileSync } from 'node:fs'
import { serve } from '@multireactor/core'
import { expect } from 'chai'
import { failureOf } from '../fixtures/bad-failure.js'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'

describe('a pool with heavy and light work', () => {
  it('answers light frames at once beside 50 ms ones that keep every worker busy, and these go on', async () => {
    const server = await serve({ app: app('placement_pool'), listen: 0, reactors: 1, pool: 2 })
    const { port } = server.listeners[0]!
    const light = await Client.connect(port)
    const ask = async (): Promise<number> => {
      light.received = Buffer.alloc(0)
      const from = performance.now()
      light.write('where\n')
      await light.lines(1)
      return performance.now() - from
    }
    const heavies = await Promise.all([1, 2, 3, 4].map(() => Client.connect(port)))
    const heavy = 'spin 50                                    .\n'
    // Once, so that it is known what they cost.
    heavies[0]!.write(heavy)
    await heavies[0]!.lines(1)
    await ask()
    await ask()
    let done = false
    const all = Promise.all(
      heavies.map(async (client, i) => {
        const before = i === 0 ? 1 : 0
        for (let round = 1; round <= 4; round++) {
          client.write(heavy)
          await client.lines(before + round)
        }
        client.destroy()
      }),
    ).then(() => {
      done = true
    })
    const times: number[] = []
    while (!done) times.push(await ask())
    await all
    times.sort((a, b) => a - b)
    // Behind every heavy one it would be 25 ms in the middle, with two workers; the tests share their cores with others.
    expect(times[Math.floor(times.length / 2)]).to.be.below(15)
    expect(times.length).to.be.at.least(30)
    light.destroy()
    await server.close({ timeoutMs: 500 })
  })

  it('whose threads are nicer than the reactors, and nobody else', async () => {
    const server = await serve({ app: app('placement_pool'), listen: 0, reactors: 1, pool: { size: 2, nice: 7 } })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('where\n')
    await client.lines(1)
    // The 19th field of a thread's stat; its name may hold spaces, and ends with a bracket.
    const nices = readdirSync('/proc/self/task').map((thread) => {
      const stat = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8')
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])
    })
    const own = Math.min(...nices)
    expect(nices.filter((nice) => nice === 7)).to.have.length(2)
    expect(nices.filter((nice) => nice === own)).to.have.length(nices.length - 2)
    client.destroy()
    await server.close({ timeoutMs: 500 })
  })

  it('refuses a priority that only root may have, and one that does not exist', async () => {
    for (const nice of [-1, 20, 1.5]) {
      const error = await failureOf(() => serve({ app: app('placement_pool'), listen: 0, pool: { size: 1, nice } }))
      expect(error.code).to.equal('ERR_MR_OPTION_RANGE')
      expect(error.message).to.include("'nice' must be a whole number from 0 to 19")
    }
  })
})
