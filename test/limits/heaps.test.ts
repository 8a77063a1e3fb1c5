import { once } from 'node:events'
import { type ResourceLimits, Worker } from 'node:worker_threads'
import { type Server, type ServeOptions, serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const mebibyte = 1 << 20

describe('the young generations of the heaps of threads', () => {
  let server: Server | undefined
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    await server?.close({ timeoutMs: 500 })
    expectNothingLeft(before)
  })

  /** The heap limits that a reactor and a worker report. */
  async function limitsWith(memory: number, options: Partial<ServeOptions> = {}): Promise<ResourceLimits[]> {
    server = await serve({ app: app('heap-limits'), listen: 0, reactors: 2, pool: 2, limits: { memory }, ...options })
    const client = await Client.connect(server.listeners[0]!.port!)
    client.write('reactor\nworker\n')
    const said = (await client.lines(2)).map((line) => JSON.parse(line) as ResourceLimits)
    client.destroy()
    return said
  }
  const young = (limits: ResourceLimits[]): unknown[] => limits.map((one) => one.maxYoungGenerationSizeMb)

  it('together have a quarter of a small limit of memory', async () => {
    expect(young(await limitsWith(128 * mebibyte))).to.deep.equal([8, 8])
  })

  it('have at least 6 MiB each', async () => {
    expect(young(await limitsWith(16 * mebibyte))).to.deep.equal([6, 6])
  })

  it('are as Node makes them where the limit has room for them', async () => {
    const plain = new Worker(`const w = require('node:worker_threads'); w.parentPort.postMessage(w.resourceLimits)`, {
      eval: true,
    })
    const [[limits]] = (await Promise.all([once(plain, 'message'), once(plain, 'exit')])) as [[ResourceLimits], unknown]
    const most = limits.maxYoungGenerationSizeMb
    expect(young(await limitsWith(4 * 192 * mebibyte))).to.deep.equal([most, most])
  })

  it('are as the options say, and the rest of those stays', async () => {
    const given = { maxYoungGenerationSizeMb: 12, maxOldGenerationSizeMb: 100 }
    const said = await limitsWith(128 * mebibyte, { resourceLimits: given })
    for (const one of said) expect(one).to.include(given)
    await server!.close()
    const [one] = await limitsWith(128 * mebibyte, { resourceLimits: { maxOldGenerationSizeMb: 100 } })
    expect(one).to.include({ maxYoungGenerationSizeMb: 8, maxOldGenerationSizeMb: 100 })
  })
})

describe('the old generations of the heaps of threads', () => {
  it('are collected when garbage is much beside a small limit of memory, in a thread at rest too', async () => {
    const before = census()
    const server = await serve({
      app: app('heap-garbage'),
      listen: 0,
      reactors: 1,
      pool: 0,
      limits: { memory: 32 * mebibyte },
    })
    const client = await Client.connect(server.listeners[0]!.port!)
    client.write('make\n')
    await client.until(({ received }) => received.includes('collected\n'))
    expect(Number((await client.lines(1))[0])).to.be.above(24 * mebibyte)
    client.received = Buffer.alloc(0)
    client.write('look\n')
    expect(Number((await client.lines(1))[0])).to.be.below(16 * mebibyte)
    client.destroy()
    await server.close({ timeoutMs: 500 })
    expectNothingLeft(before)
  })
})
