import { serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { closedAs } from '../support/closed.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const listen = { port: 0, host: '127.0.0.1' }

describe('a peer that half-closes', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('gets what an asynchronous message hook writes behind its await', async () => {
    await using server = await serve({ app: app('half-closed'), listen, reactors: 1, pool: 1 })
    for (const [text, answer] of [
      ['await', 'await true\n'],
      ['timer', 'timer true\n'],
      ['run', 'ran run\nrun true\n'],
    ] as const) {
      const client = await Client.connect(server.listeners[0]!.port, { allowHalfOpen: true })
      client.socket.end(`${text}\n`)
      await client.until(({ ended }) => ended)
      expect(client.received.toString()).to.equal(answer)
      await client.untilClosed()
    }
    expect(await closedAs(server, 'end', 3)).to.equal(3)
  })

  it('is closed as idle when the hook never settles', async () => {
    await using server = await serve({ app: app('half-closed'), listen, reactors: 1, pool: 0 })
    const client = await Client.connect(server.listeners[0]!.port, { allowHalfOpen: true })
    client.socket.end('never\n')
    await client.until(({ ended }) => ended)
    expect(await closedAs(server, 'idle-timeout', 1)).to.equal(1)
    await client.untilClosed()
  })
})

describe('a connection whose hook has failed', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('can be destroyed while it waits for a deferred reply', async () => {
    await using server = await serve({ app: app('half-closed'), listen, reactors: 1, pool: 0 })
    const failed = new Promise((resolve) => server.once('error', resolve))
    const { port } = server.listeners[0]!
    const client = await Client.connect(port)
    client.write('hold\nfail\n')
    await failed
    const other = await Client.connect(port)
    other.write('destroy\n')
    expect(await other.lines(1)).to.deep.equal(['{"write":false,"destroyed":true,"isOpen":false}'])
    await client.untilClosed()
    expect(await closedAs(server, 'destroyed', 1)).to.equal(1)
    other.destroy()
  })
})
