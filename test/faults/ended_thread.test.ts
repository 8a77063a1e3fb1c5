import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve } from '@multireactor/core'
import { expect } from 'chai'
import { lateResults } from '../fixtures/late-calls.js'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const listen = { port: 0, host: '127.0.0.1' }

// Some versions of Node run the microtasks behind one that has thrown, although the thread has ended.
describe('microtasks of a thread that has ended', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('find every connection closed', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ended-'))
    const file = join(folder, 'results')
    try {
      await using server = await serve({ app: app('ended-thread'), listen, reactors: 1, pool: 1 })
      server.on('error', () => {})
      const { port } = server.listeners[0]!
      const clients: Client[] = []
      const names = [...Object.keys(lateResults), 'other']
      for (const name of names) {
        const client = await Client.connect(port)
        clients.push(client)
        client.write(`call ${name}\n`)
        if (!name.startsWith('reply made before')) await client.lines(1)
      }
      const replaced = new Promise((resolve) => server.once('reactorReplaced', resolve))
      const ender = await Client.connect(port)
      ender.write(`end ${file}\n`)
      await replaced
      if (existsSync(file)) {
        const results = JSON.parse(readFileSync(file, 'utf8')) as object
        expect(results).to.deep.equal({ ...lateResults, subscriptions: 0, connect: 'rejects ERR_MR_CLOSED' })
      }
      // None of that reached the connections that the next thread goes on with.
      for (const [i, name] of names.entries()) {
        if (name.startsWith('reply made before')) continue
        clients[i]!.write('hello\n')
        expect(await clients[i]!.lines(2)).to.deep.equal(['ok', 'ok'])
      }
      for (const client of [...clients, ender]) client.destroy()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('take no reply along that a worker had ready', async () => {
    await using server = await serve({ app: app('ended-worker'), listen, reactors: 1, pool: 1 })
    server.on('error', () => {})
    const { port } = server.listeners[0]!
    const client = await Client.connect(port)
    client.write('wait\n')
    while (server.stats().workers[0]!.framesStarted === 0) await new Promise(setImmediate)
    const ender = await Client.connect(port)
    ender.write('end\n')
    expect(await client.lines(1)).to.deep.equal(['answered'])
    await ender.untilClosed()
    client.destroy()
  })

  it('begin no frame that a worker had claimed', async () => {
    await using server = await serve({ app: app('ended-worker'), listen, reactors: 1, pool: { size: 1, concurrency: 1 } })
    server.on('error', () => {})
    const client = await Client.connect(server.listeners[0]!.port)
    const texts = Array.from({ length: 40 }, (_, i) => `frame ${i}`)
    client.write(`${['end by a timer', ...texts].join('\n')}\n`)
    expect(await client.lines(41)).to.deep.equal(['answered', ...texts])
    expect(server.stats().connections.closed['task-lost']).to.equal(0)
    client.destroy()
  })
})
