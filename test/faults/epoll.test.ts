import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { faultSetup } from '../support/fault_setup.js'
import type { ServerProcess } from '../support/faulty_server.js'

const host = '127.0.0.1'

describe('an epoll set that refuses', () => {
  const setup = faultSetup()

  const start = (reactors = 1) =>
    setup.start({
      app: app('faults-reasons'),
      listen: [
        { name: 'hook', port: 0, host },
        { name: 'pool', port: 0, host, app: app('faults-pool') },
      ],
      reactors,
      pool: 1,
    })

  async function echoes(client: Client, line: string): Promise<void> {
    const before = client.received.length
    client.write(`${line}\n`)
    await client.bytes(before + line.length + 1)
    expect(client.received.subarray(before).toString()).to.equal(`${line}\n`)
  }

  async function endsWith(server: ServerProcess, closed: number): Promise<void> {
    const { last, before, after } = await server.close()
    expect(last.stats.connections.closed['system-error']).to.equal(closed)
    expect({ ...after, threads: 0 }).to.deep.equal({ ...before, threads: 0 })
  }

  for (const error of ['ENOSPC', 'ENOMEM'] as const) {
    for (const [listener, name] of ['hook', 'pool'].entries()) {
      it(`a new connection, ${error}: closes it alone, ${name}`, async () => {
        const server = await start()
        const other = await Client.connect(server.target(listener))
        await echoes(other, 'before')
        const fault = setup.faults.inject({ call: 'epoll_add', error, times: 1 })
        const client = await Client.connect(server.target(listener))
        await client.untilClosed()
        expect(client.received).to.have.length(0)
        expect(fault.happened).to.equal(1)
        await echoes(other, 'after')
        const next = await Client.connect(server.target(listener))
        await echoes(next, 'next')
        if (name === 'hook') {
          next.write('log\n')
          await next.lines(2)
          expect(next.received.toString()).to.equal('next\nopen open system-error open\n')
        }
        for (const one of [other, next]) one.destroy()
        await endsWith(server, 1)
      })

      it(`a connection that has to wait for its peer, ${error}: closes it alone, ${name}`, async () => {
        const server = await start()
        const other = await Client.connect(server.target(listener))
        const client = await Client.connect(server.target(listener))
        for (const one of [other, client]) await echoes(one, 'before')
        // The socket takes nothing, so epoll is to say when it does.
        const full = setup.faults.inject({ call: 'send', error: 'EAGAIN', times: 1 })
        const fault = setup.faults.inject({ call: 'epoll_mod', error, times: 1 })
        client.write('lost\n')
        await client.untilClosed()
        expect(client.received.toString()).to.equal('before\n')
        expect([full.happened, fault.happened]).to.deep.equal([1, 1])
        await echoes(other, 'after')
        other.destroy()
        await endsWith(server, 1)
      })
    }
  }

  it('every second connection of many: the rest is served, all are counted', async () => {
    const server = await start(2)
    const fault = setup.faults.inject({ call: 'epoll_add', error: 'ENOSPC', every: 2 })
    const served = await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const client = await Client.connect(server.target(i % 2))
        client.write(`line ${i}\n`)
        const answered = await client.lines(1).then(
          ([line]) => line === `line ${i}`,
          () => false,
        )
        client.destroy()
        return answered
      }),
    )
    expect(fault.happened).to.be.above(0)
    expect(served.filter((answered) => !answered)).to.have.length(fault.happened)
    await endsWith(server, fault.happened)
  })
})
