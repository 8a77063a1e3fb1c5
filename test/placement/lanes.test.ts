import { readdirSync, readFileSync } from 'node:fs'
import { serve } from '@multireactor/core'
import { expect } from 'chai'
import { failureOf } from '../fixtures/bad-failure.js'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'

describe('a pool with heavy and light work', () => {
  it('answers light frames between heavy ones that keep every worker busy, and these go on', async () => {
    const server = await serve({ app: app('placement_pool'), listen: 0, reactors: 1, pool: 2 })
    const { port } = server.listeners[0]!
    const light = await Client.connect(port)
    const ask = async () => {
      light.received = Buffer.alloc(0)
      light.write('where\n')
      await light.lines(1)
    }
    const heavies = await Promise.all([1, 2, 3, 4].map(() => Client.connect(port)))
    // So much work, however long the machine takes for it: some fifty milliseconds.
    const heavy = 'work 50                                    .\n'
    // Once, so that their cost is known.
    heavies[0]!.write(heavy)
    await heavies[0]!.lines(1)
    await ask()
    await ask()
    let answered = 0
    let over = false
    const all = Promise.all(
      heavies.map(async (client, i) => {
        for (let count = i === 0 ? 2 : 1; !over; count++) {
          client.write(heavy)
          await client.lines(count)
          answered++
        }
        client.destroy()
      }),
    )
    const asks = 40
    for (let i = 0; i < asks; i++) await ask()
    const heaviesMeanwhile = answered
    over = true
    await all
    // A light frame that waited behind heavy ones would see one of them answered at least before its own answer.
    expect(heaviesMeanwhile).to.be.below(asks / 2)
    expect(answered).to.be.at.least(heavies.length)
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
