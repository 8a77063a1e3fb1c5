// Changing faults under changing connections, for half a minute. Long: run by `npm run check:all`.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { type Fault, type FaultRule, Faults } from '../support/faults.js'
import { Random, stormSeed } from '../support/random.js'
import { lineStream } from '../support/line_stream.js'
import { ServerProcess } from '../support/faulty_server.js'

const rounds = 12 // of 5 faults: a control page has room for 64
const roundMs = 2_500
const clients = 24

const harmless: FaultRule[] = [
  ...(['accept4', 'recv', 'send', 'sendmsg', 'epoll_wait', 'read', 'write'] as const).map(
    (call) => ({ call, error: 'EINTR', every: 2 }) as const,
  ),
  ...(['accept4', 'recv', 'send', 'sendmsg'] as const).map((call) => ({ call, error: 'EAGAIN', every: 3 }) as const),
  { call: 'accept4', error: 'ECONNABORTED', every: 2 },
  { call: 'accept4', error: 'EPROTO', every: 3 },
  ...(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'] as const).map((error) => ({ call: 'accept4', error, every: 20 }) as const),
  { call: 'recv', atMost: 3 },
  { call: 'recv', atMost: 100, every: 2 },
  { call: 'send', atMost: 50 },
  { call: 'send', atMost: 1, every: 3 },
  { call: 'sendmsg', atMost: 600 },
  { call: 'epoll_wait', atMost: 1 },
  { call: 'epoll_wait', atMost: 2, every: 2 },
]
// Each costs at most one connection.
const harmful: FaultRule[] = [
  { call: 'epoll_add', error: 'ENOSPC', every: 40 },
  { call: 'epoll_add', error: 'ENOMEM', every: 30 },
  { call: 'epoll_mod', error: 'ENOMEM', every: 300 },
]

const random = new Random(stormSeed())
const below = (limit: number) => random.below(limit)
const oneOf = <T>(list: readonly T[]): T => list[below(list.length)]!

describe('faults that change all the time', function () {
  this.timeout(120_000)
  const folder = mkdtempSync(join(tmpdir(), 'mr-'))
  const faults = new Faults()
  let server: ServerProcess | undefined
  before(() => Faults.build())
  after(async () => {
    await server?.kill()
    faults.close()
    rmSync(folder, { recursive: true })
  })

  it('change no byte, and cost no connection but those that epoll refused', async () => {
    server = await ServerProcess.start(faults, {
      app: app('faults-pool'),
      listen: [
        { name: 'pool', host: '127.0.0.1', port: 0 },
        { name: 'hook', host: '127.0.0.1', port: 0, app: app('faults-inline') },
        { name: 'path', path: join(folder, 'socket') },
      ],
      reactors: 2,
      pool: 2,
    })
    const until = performance.now() + rounds * roundMs
    const seen = { whole: 0, torn: 0, leavers: 0 }

    async function talk(seed: number): Promise<void> {
      for (let i = seed; performance.now() < until; i += clients) {
        const client = await Client.connect(server!.target(below(3)), { allowHalfOpen: true })
        const sent = lineStream(i, oneOf([30, 3_000, 30_000]), oneOf([30, 2_000]))
        const leaves = below(5) === 0
        if (leaves) client.write(sent)
        else client.socket.end(sent)
        if (leaves) await client.until(({ received, ended, closed }) => closed || ended || received.length > 0)
        else await client.untilClosed()
        client.destroy()
        const { received } = client
        // Every received byte is right, for any fate of the connection.
        expect(received.equals(sent.subarray(0, received.length)), `stream ${i}`).to.equal(true)
        if (leaves) seen.leavers++
        else if (received.length === sent.length) seen.whole++
        else seen.torn++
      }
    }

    const injected: Fault[] = []
    async function change(): Promise<void> {
      for (let round = 0; round < rounds; round++) {
        const now = [...Array.from({ length: 4 }, () => oneOf(harmless)), oneOf(harmful)].map((rule) => faults.inject(rule))
        injected.push(...now)
        await new Promise((resolve) => setTimeout(resolve, roundMs)) // how long a round is, not a wait for anything
        for (const fault of now) fault.stop()
      }
    }
    await Promise.all([change(), ...Array.from({ length: clients }, (_, i) => talk(i))])

    const happened = (rules: FaultRule[]) =>
      injected.filter(({ rule }) => rules.includes(rule)).reduce((sum, fault) => sum + fault.happened, 0)
    expect(happened(harmless)).to.be.above(1_000)
    expect(happened(harmful)).to.be.above(0)
    expect(seen.whole).to.be.above(100)
    await server.until(({ stats }) => stats.connections.open === 0)
    const { last, before, after, destroyed } = await server.close()
    const { closed } = last.stats.connections
    expect(seen.torn).to.be.at.most(closed['system-error'])
    expect(closed['system-error']).to.be.at.most(happened(harmful))
    expect(closed.reset).to.be.at.most(seen.leavers)
    expect(last.stats.queue).to.deep.equal({ tasks: 0, frames: 0, bytes: 0 })
    expect(last.warnings.every((line) => line.includes('cannot accept'))).to.equal(true)
    expect(destroyed).to.equal(0)
    expect({ ...after, threads: 0 }).to.deep.equal({ ...before, threads: 0 })
    console.log(`      ${JSON.stringify(seen)}, faults: ${happened(harmless)} harmless, ${happened(harmful)} harmful`)
  })
})
