import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { faultSetup } from '../support/fault_setup.js'
import type { Report, ServerProcess } from '../support/faulty_server.js'

const options = { app: app('faults-pool'), listen: { port: 0, host: '127.0.0.1' }, reactors: 2, pool: 1 }

async function echoes(client: Client, line: string): Promise<void> {
  const before = client.received.length
  client.write(`${line}\n`)
  await client.bytes(before + line.length + 1)
  expect(client.received.subarray(before).toString()).to.equal(`${line}\n`)
}

const turns = ({ stats }: Report) => stats.reactors.reduce((sum, reactor) => sum + reactor.turns, 0)

/**
 * How many turns reactors may take that serve these tests, and try ten times a second each to accept. One that spins takes as
 * many in a few milliseconds of its CPU.
 */
const calmTurns = (lastedMs: number) => 4_000 + lastedMs / 20

const acceptErrors = ({ stats }: Report) => stats.reactors.reduce((sum, reactor) => sum + reactor.acceptErrors, 0)

const connect = (server: ServerProcess, count: number) =>
  Promise.all(Array.from({ length: count }, () => Client.connect(server.target())))

describe('a listener that cannot accept', () => {
  const setup = faultSetup()

  for (const error of ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'] as const) {
    it(`${error}: does not spin, says so once a second, serves the others meanwhile and the new ones afterwards`, async () => {
      const server = await setup.start(options)
      const open = await connect(server, 4)
      for (const client of open) await echoes(client, 'before')
      const start = await server.report()
      const fault = setup.faults.inject({ call: 'accept4', error })
      // So many that the kernel gives some to each of the two reactors.
      const fresh = await connect(server, 24)
      for (const [i, client] of fresh.entries()) client.write(`fresh ${i}\n`)
      const inMiddle = await server.until(({ stats }) => fault.happened >= 12 && stats.reactors.every((r) => r.acceptErrors > 0))
      for (const client of open) await echoes(client, `during ${error}`)
      const end = await server.until(() => fault.happened >= 24)
      fault.stop()
      for (const [i, client] of fresh.entries()) expect(await client.lines(1)).to.deep.equal([`fresh ${i}`])

      const lastedMs = end.atMs - start.atMs
      expect(inMiddle.stats.connections.accepted).to.equal(4)
      expect(turns(end) - turns(start)).to.be.below(calmTurns(lastedMs))
      // Ten a second on each reactor, and one more for the first.
      expect(end.stats.reactors.map((r) => r.acceptErrors)).to.satisfy((each: number[]) =>
        each.every((count) => count <= lastedMs / 100 + 2),
      )
      expect(end.warnings.length).to.be.within(1, 1 + Math.floor(lastedMs / 1_000))
      expect(end.warnings[0]).to.include(`cannot accept: ${error}`)
      if (end.warnings.length > 1) expect(end.warnings[1]).to.match(/\(and \d+ more in the last \d+ s\)$/)
      for (const client of [...open, ...fresh]) client.destroy()
      const { last, before: atStart, after, destroyed } = await server.close()
      expect(acceptErrors(last)).to.equal(fault.happened)
      expect(last.stats.connections.accepted).to.equal(28)
      expect(destroyed).to.equal(0)
      expect({ ...after, threads: 0 }).to.deep.equal({ ...atStart, threads: 0 })
    })
  }

  it('for the real reason, a full table of descriptors: the same, and each that closes makes room for one that waits', async () => {
    const descriptors = 128
    const server = await setup.start({ ...options, limits: { connections: 10_000 } }, descriptors)
    // More than it can ever accept; the rest waits in the kernel.
    const clients = await connect(server, descriptors + 20)
    for (const [i, client] of clients.entries()) client.write(`first ${i}\n`)
    // One of the reactors may have accepted its whole queue before the table was full.
    const start = await server.until((report) => acceptErrors(report) > 0)
    const end = await server.until((report) => acceptErrors(report) > acceptErrors(start) + 10)
    expect(turns(end) - turns(start)).to.be.below(calmTurns(end.atMs - start.atMs))
    const failures = end.warnings.filter((line) => line.includes('cannot accept: EMFILE'))
    expect(failures.length).to.be.within(1, 2 + Math.floor((end.atMs - start.atMs) / 1_000))
    // And when it started: it can never have as many connections as it was told.
    expect(end.warnings[0]).to.include('too few for 10000 connections')

    const served = clients.filter((client) => client.received.length > 0)
    const waiting = clients.filter((client) => client.received.length === 0)
    expect(served).to.have.length(end.stats.connections.accepted)
    expect(waiting.length).to.be.at.least(20)
    for (const [i, client] of served.entries()) await echoes(client, `still ${i}`)

    for (const client of served) client.destroy()
    // More than have left: the last of them need the descriptors that the first of them give back.
    const isServed = async (client: Client) => {
      await client.lines(1)
      client.destroy()
    }
    await Promise.all(waiting.map(isServed))
    const { last, before: atStart, after } = await server.close()
    expect(last.stats.connections.accepted).to.equal(clients.length)
    expect({ ...after, threads: 0 }).to.deep.equal({ ...atStart, threads: 0 })
  })

  it('and that the epoll set does not take back at once: is asked again', async () => {
    const server = await setup.start({ ...options, reactors: 1 })
    const accept = setup.faults.inject({ call: 'accept4', error: 'EMFILE', times: 1 })
    const add = setup.faults.inject({ call: 'epoll_add', error: 'ENOSPC', times: 3 })
    const client = await Client.connect(server.target())
    await echoes(client, 'at last')
    expect([accept.happened, add.happened]).to.deep.equal([1, 3])
    client.destroy()
    await server.close()
  })

  it('for the real reason: closes nevertheless, with an answer for everybody it has accepted', async () => {
    const descriptors = 128
    const server = await setup.start({ ...options, app: app('work'), limits: { connections: 10_000 } }, descriptors)
    const clients = await connect(server, descriptors + 20)
    for (const client of clients) client.write('sleep 500\n')
    const { stats } = await server.until((report) => acceptErrors(report) > 0)
    // All that were accepted stay open while their answer is on its way, so the table stays full.
    const startedAt = performance.now()
    const { answered, turns, destroyed } = await server.close()
    const lastedMs = performance.now() - startedAt
    expect(answered).to.be.at.least(stats.connections.accepted)
    expect(destroyed).to.equal(0)
    expect(turns).to.be.within(1, calmTurns(lastedMs))
    for (const client of clients) await client.untilClosed()
    expect(clients.filter((client) => client.received.toString() === 'slept 500\n')).to.have.length(answered)
  })

  it('does not spin while it closes, and serves who was queued when there are descriptors again', async () => {
    const server = await setup.start({ ...options, reactors: 1 })
    const client = await Client.connect(server.target(), { allowHalfOpen: true })
    await echoes(client, 'before')
    const fault = setup.faults.inject({ call: 'accept4', error: 'EMFILE', times: 10 })
    const late = await Client.connect(server.target())
    late.write('late\n')
    await server.until((report) => acceptErrors(report) > 0)
    const startedAt = performance.now()
    // The first peer does not finish, so the server waits for it, for two seconds.
    const { turns, destroyed } = await server.close()
    const lastedMs = performance.now() - startedAt
    expect(lastedMs).to.be.at.least(1_900)
    expect(fault.happened).to.equal(10)
    expect(turns).to.be.within(1, calmTurns(lastedMs))
    expect(destroyed).to.equal(0)
    expect(client.ended).to.equal(true)
    await late.untilClosed()
    expect(late.received.toString()).to.equal('late\n')
    client.destroy()
  })
})
