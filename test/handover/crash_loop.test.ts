import { serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const listen = { port: 0, host: '127.0.0.1' }

/** Peers that end a thread each, one after the other; then somebody who wants an answer. */
export async function storm(sizes: { reactors: number; pool: number }, line: string, count: number): Promise<void> {
  await using server = await serve({ app: app('killed'), listen, ...sizes })
  const errors: unknown[] = []
  server.on('error', (error) => errors.push(error))
  server.on('reactorReplaced', () => {})
  server.on('workerReplaced', () => {})
  const { port } = server.listeners[0]!
  const polite = await Client.connect(port)
  for (let i = 0; i < count; i++) {
    const peer = await Client.connect(port)
    peer.write(`${line}\n`)
    await peer.untilClosed()
  }
  const after = await Client.connect(port)
  for (const client of [polite, after]) client.write('here\npool here\n')
  for (const client of [polite, after]) expect(await client.lines(2)).to.deep.equal(['here', 'pool here'])
  expect(errors).to.deep.equal([])
  const { reactorsReplaced, workersReplaced, connections } = server.stats()
  expect(reactorsReplaced + workersReplaced).to.equal(count)
  expect(connections.closed['thread-lost'] + connections.closed['task-lost']).to.equal(count)
  for (const client of [polite, after]) client.destroy()
}

describe('peers that end a thread with each line', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('end no server: the only reactor comes back each time', () => storm({ reactors: 1, pool: 1 }, 'exit', 12))
  it('end no server of two reactors', () => storm({ reactors: 2, pool: 1 }, 'exit', 20))
  it('end no server by its pool', () => storm({ reactors: 1, pool: 2 }, 'pool exit', 20))
})
