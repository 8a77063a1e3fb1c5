import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { faultSetup } from '../support/fault_setup.js'
import type { FaultRule } from '../support/faults.js'
import { lineStream } from '../support/line_stream.js'

interface Case {
  rules: FaultRule[]
  /** Of one connection, and of its longest line. */
  bytes: number
  longest: number
}

const large = { bytes: 300_000, longest: 8_000 }
// Every byte costs a turn.
const small = { bytes: 3_000, longest: 300 }

const cases: Record<string, Case> = {
  'EINTR in every second call': {
    rules: (['accept4', 'recv', 'send', 'sendmsg', 'epoll_wait', 'read', 'write'] as const).map((call) => ({
      call,
      error: 'EINTR',
      every: 2,
    })),
    ...large,
  },
  'ECONNABORTED and EPROTO at accept': {
    rules: [
      { call: 'accept4', error: 'ECONNABORTED', every: 2 },
      { call: 'accept4', error: 'EPROTO', every: 3 },
    ],
    ...large,
  },
  'EAGAIN from a socket that was ready': {
    rules: (['accept4', 'recv', 'send', 'sendmsg'] as const).map((call) => ({ call, error: 'EAGAIN', every: 2 })),
    ...large,
  },
  'reads of one byte': { rules: [{ call: 'recv', atMost: 1 }], ...small },
  'reads of seven bytes between long ones': { rules: [{ call: 'recv', atMost: 7, every: 2 }], ...large },
  'writes of one byte': {
    rules: [
      { call: 'send', atMost: 1 },
      { call: 'recv', atMost: 64 },
    ],
    ...small,
  },
  'writes that end in the middle of a block': {
    rules: [
      { call: 'send', atMost: 5_001 },
      { call: 'sendmsg', atMost: 17_003, every: 2 },
    ],
    ...large,
  },
  'one event in each wait': { rules: [{ call: 'epoll_wait', atMost: 1 }], ...large },
  'all of these at once': {
    rules: [
      ...(['accept4', 'recv', 'send', 'epoll_wait', 'read', 'write'] as const).map(
        (call) => ({ call, error: 'EINTR', every: 3 }) as const,
      ),
      { call: 'accept4', error: 'ECONNABORTED', every: 4 },
      { call: 'recv', error: 'EAGAIN', every: 5 },
      { call: 'send', error: 'EAGAIN', every: 5 },
      { call: 'recv', atMost: 50 },
      { call: 'send', atMost: 70, every: 2 },
      { call: 'epoll_wait', atMost: 1 },
    ],
    bytes: 10_000,
    longest: 1_000,
  },
}

describe('a kernel at its worst', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mr-'))
  const setup = faultSetup()
  after(() => rmSync(folder, { recursive: true }))

  async function exchange(target: number | string, sent: Buffer): Promise<void> {
    const client = await Client.connect(target, { allowHalfOpen: true })
    client.socket.end(sent)
    await client.untilClosed()
    expect(client.error).to.equal(undefined)
    expect(client.received.equals(sent), `${client.received.length} of ${sent.length} bytes came back`).to.equal(true)
  }

  for (const [what, { rules, bytes, longest }] of Object.entries(cases)) {
    it(`changes no byte and loses no connection: ${what}`, async () => {
      const server = await setup.start({
        app: app('faults-pool'),
        listen: [
          { name: 'pool', host: '127.0.0.1', port: 0 },
          { name: 'hook', host: '127.0.0.1', port: 0, app: app('faults-inline') },
          { name: 'path', path: join(folder, 'socket') },
        ],
        reactors: 2,
        pool: 2,
      })
      const injected = rules.map((rule) => setup.faults.inject(rule))
      const clients = 18
      await Promise.all(
        Array.from({ length: clients }, (_, i) => {
          // Some are so short that their replies leave in one piece: `send`, and not `sendmsg`.
          const short = i >= clients / 2
          return exchange(server.target(i % 3), short ? lineStream(i, 300, 30) : lineStream(i, bytes, longest))
        }),
      )
      for (const fault of injected) expect(fault.happened, JSON.stringify(fault.rule)).to.be.above(0)
      await server.until(({ stats }) => stats.connections.open === 0)
      const { last, before: atStart, after, destroyed } = await server.close()
      expect(last.stats.connections).to.deep.include({ accepted: clients, open: 0 })
      expect(last.stats.connections.closed.end).to.equal(clients)
      expect(last.stats.reactors.map((r) => r.acceptErrors)).to.deep.equal([0, 0])
      expect(last.warnings).to.deep.equal([])
      expect(destroyed).to.equal(0)
      expect({ ...after, threads: 0 }).to.deep.equal({ ...atStart, threads: 0 })
    })
  }
})
