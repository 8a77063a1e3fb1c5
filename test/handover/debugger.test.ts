import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { type Server, type ServeOptions, serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { Debugger } from '../support/debugger.js'

/** Several times the limit for a thread that no debugger holds. */
const holdMs = 1_500
const limits = { hookTimeoutMs: 200, pool: { size: 1, taskTimeoutMs: 200 } }

describe('a thread that a debugger has paused', () => {
  let server: Server | undefined
  let debugging: Debugger | undefined
  beforeEach(async () => {
    debugging = await Debugger.attach()
  })
  afterEach(async () => {
    await server?.close({ timeoutMs: 500 })
    server = undefined
    await debugging?.detach()
  })

  async function start(name: string, more: Partial<ServeOptions> = {}): Promise<Server> {
    const listen = ['hooks', 'pool'].map((name) => ({ name, port: 0, host: '127.0.0.1' }))
    server = await serve({ app: app(name), listen, reactors: 1, ...limits, ...more })
    return server
  }

  for (const [what, name, listener, event] of [
    ['a hook', 'breakpoint', 0, 'reactorReplaced'],
    ['parse in the pool', 'breakpoint', 1, 'workerReplaced'],
    ['parse on a reactor', 'breakpoint-inline', 0, 'reactorReplaced'],
  ] as const) {
    it(`is not stuck, however long it stays in ${what}; an endless loop still is`, async () => {
      const { listeners, stats } = await start(name)
      const client = await Client.connect(listeners[listener]!.port)
      client.write('break\n')
      const resume = await debugging!.paused()
      await delay(holdMs)
      resume()
      client.write('more\n')
      expect(await client.lines(2)).to.deep.equal(['did break', 'did more'])
      const { reactorsReplaced, workersReplaced } = stats.call(server!)
      expect([reactorsReplaced, workersReplaced]).to.deep.equal([0, 0])
      const replaced = once(server as never, event)
      client.write('loop\n')
      expect(['stuck', 'timeout']).to.include(((await replaced)[0] as { reason: string }).reason)
      await client.untilClosed()
    })
  }

  it('goes on after a long pause with all of its time', async () => {
    const { listeners, stats } = await start('breakpoint-inline', {
      hookTimeoutMs: 30_000,
      pool: { size: 1, taskTimeoutMs: 600 },
    })
    const client = await Client.connect(listeners[0]!.port)
    client.write('break and work\n')
    const resume = await debugging!.paused()
    await delay(holdMs)
    resume()
    expect(await client.lines(1)).to.deep.equal(['did break and work'])
    expect(stats.call(server!).reactorsReplaced).to.equal(0)
    client.destroy()
  })

  it('may take longer than startTimeoutMs to start', async () => {
    const starting = start('breakpoint-start', { startTimeoutMs: 4_000, pool: 0, hookTimeoutMs: 30_000 })
    const resume = await Promise.race([debugging!.paused(), starting.then(() => expect.fail('no breakpoint'))])
    await delay(4_200)
    resume()
    const client = await Client.connect((await starting).listeners[0]!.port)
    client.write('one\n')
    expect(await client.lines(1)).to.deep.equal(['did one'])
    client.destroy()
  })
})
