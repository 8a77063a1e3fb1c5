import { serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from './app.js'
import { Client } from './client.js'

const listen = { port: 0, host: '127.0.0.1' }

/** Peers that end a thread each, one after the other; then a client that expects an answer. */
export async function storm(sizes: { reactors: number; pool: number }, line: string, count: number): Promise<void> {
  await using server = await serve({ app: app('killed'), listen, ...sizes })
  const errors: unknown[] = []
  server.on('error', (error) => errors.push(error))
  let deaths = 0
  const allDead = new Promise<void>((resolve) => {
    const one = () => void (++deaths === count && resolve())
    server.on('reactorReplaced', one)
    server.on('workerReplaced', one)
  })
  const { port } = server.listeners[0]!
  const polite = await Client.connect(port)
  polite.write('first\n')
  await polite.lines(1)
  for (let i = 0; i < count; i++) {
    const peer = await Client.connect(port)
    peer.write(`${line}\n`)
    await peer.untilClosed()
  }
  const after = await Client.connect(port)
  for (const client of [polite, after]) client.write('here\npool here\n')
  expect(await after.lines(2)).to.deep.equal(['here', 'pool here'])
  expect(await polite.lines(3)).to.deep.equal(['first', 'here', 'pool here'])
  // A thread that exits closes its connection before the server hears of its death.
  await allDead
  expect(errors).to.deep.equal([])
  const { reactorsReplaced, workersReplaced, connections } = server.stats()
  expect(reactorsReplaced + workersReplaced).to.equal(count)
  expect(connections.closed['thread-lost'] + connections.closed['task-lost']).to.equal(count)
  for (const client of [polite, after]) client.destroy()
}
