import { once } from 'node:events'
import net from 'node:net'
import { Worker } from 'node:worker_threads'
import { serve } from '@multireactor/core'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const local = { port: 0, host: '127.0.0.1' }

describe('lifecycle', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('1,000 rounds of a reactor on the main thread leave nothing', async function () {
    this.timeout(60_000)
    for (let i = 0; i < 1_000; i++) {
      const reactor = new Reactor()
      await reactor.listen(local, { message() {} })
      await reactor.close()
    }
  })

  for (const way of ['terminate', 'exit', 'throw']) {
    it(`a reactor whose thread ends by ${way} while it serves leaves nothing`, async () => {
      const worker = new Worker(app('int-reactor-thread'), { workerData: way })
      worker.on('error', () => {})
      const exited = once(worker, 'exit').catch(() => once(worker, 'exit'))
      const [port] = (await once(worker, 'message')) as [number]
      const client = await Client.connect(port)
      client.write('hello')
      await client.bytes(5)
      if (way === 'terminate') void worker.terminate()
      else client.write('now')
      await exited
      await client.untilClosed()
    })
  }

  it('close() resets nobody who was queued while clients storm in', async () => {
    const reactor = new Reactor()
    const { port } = await reactor.listen(local, { message: (conn, chunk) => void conn.write(chunk) })
    const resets: string[] = []
    let connected = 0
    const ended = Array.from(
      { length: 300 },
      () =>
        new Promise<void>((resolve) => {
          const socket = net.connect(port, '127.0.0.1', () => {
            connected++
            socket.resume()
          })
          socket
            .on('error', (error: NodeJS.ErrnoException) => {
              if (error.code !== 'ECONNREFUSED') resets.push(error.code!)
            })
            .on('close', () => resolve())
        }),
    )
    while (connected < 20) await new Promise(setImmediate)
    await reactor.close()
    await Promise.all(ended)
    expect(resets).to.deep.equal([])
  })

  it('an aborted signal closes a reactor and a server', async () => {
    const abort = new AbortController()
    const reactor = new Reactor()
    const { port } = await reactor.listen(local, { message() {} }, { signal: abort.signal })
    const server = await serve({ app: app('int-who'), listen: local, reactors: 1, pool: 0, signal: abort.signal })
    const clients = await Promise.all([Client.connect(port), Client.connect(server.listeners[0]!.port)])
    abort.abort()
    await Promise.all(clients.map((client) => client.untilClosed()))
    await Promise.all([reactor[Symbol.asyncDispose](), server[Symbol.asyncDispose]()])
  })

  it('asyncDispose is idempotent, also while a close is under way', async () => {
    const reactor = new Reactor()
    await reactor.listen(local, { message() {} })
    const server = await serve({ app: app('int-who'), listen: local, reactors: 1, pool: 0 })
    for (const one of [reactor, server]) {
      await Promise.all([one[Symbol.asyncDispose](), one[Symbol.asyncDispose]()])
      await one[Symbol.asyncDispose]()
    }
  })
})
