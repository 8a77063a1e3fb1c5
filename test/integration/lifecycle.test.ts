import { once } from 'node:events'
import net from 'node:net'
import { setEnvironmentData, Worker } from 'node:worker_threads'
import { type Server, serve } from '@multireactor/core'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const local = { port: 0, host: '127.0.0.1' }

describe('lifecycle', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('1,000 rounds of a reactor on the main thread leave nothing', async () => {
    // Closing waits for a timer: twenty at once wait for it together.
    const round = async () => {
      const reactor = new Reactor()
      await reactor.listen(local, { message() {} })
      await reactor.close()
    }
    for (let i = 0; i < 50; i++) await Promise.all(Array.from({ length: 20 }, round))
  })

  for (const way of ['terminate', 'exit', 'throw']) {
    it(`a reactor whose thread ends by ${way} while it serves leaves nothing`, async () => {
      const worker = new Worker(app('int-reactor-thread'), { workerData: way })
      worker.on('error', () => {})
      // Not `once()`, which an error rejects: both events may come in one go.
      const exited = new Promise((resolve) => worker.on('exit', resolve))
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

  describe('threads that are still in their start hook', () => {
    const options = { app: app('hanging-start'), listen: local, reactors: 1, pool: 1 }
    const reactorsOrWorkers = 3
    let state: Int32Array
    beforeEach(() => {
      state = new Int32Array(new SharedArrayBuffer(8))
      setEnvironmentData('hanging', state as never)
    })

    it('end when a thread beside them fails to start', async () => {
      state[1] = 1 // the workers hang, and the reactors fail
      const error = await serve(options).catch((reason: Error) => reason)
      expect((error as Error).message).to.include('no licence')
    })

    it('have startTimeoutMs for it: serve() says so, and nothing is left', async () => {
      Atomics.store(state, 1, reactorsOrWorkers)
      const error = (await serve({ ...options, startTimeoutMs: 200 }).catch((reason: Error) => reason)) as NodeJS.ErrnoException
      expect(error.code).to.equal('ERR_MR_START_TIMEOUT')
      expect(error.message).to.match(/thread mr-\w+-0 has not started within 200 ms: .*start hook.*startTimeoutMs/)
      expectNothingLeft(before)
    })

    it('have startTimeoutMs for it in a reload, too: the old code goes on, and the next reload is not kept from it', async () => {
      const server = await serve({ ...options, startTimeoutMs: 5_000 })
      Atomics.store(state, 1, reactorsOrWorkers)
      const error = await server.reload().catch((reason: NodeJS.ErrnoException) => reason)
      expect((error as NodeJS.ErrnoException).code).to.equal('ERR_MR_START_TIMEOUT')
      Atomics.store(state, 1, 0)
      await server.reload()
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('still here\n')
      expect(await client.lines(1)).to.deep.equal(['still here'])
      client.destroy()
      await server.close()
    })

    const changes: [string, (server: Server) => Promise<void>][] = [
      ['resize() of the pool', (server) => server.resize({ pool: 2 })],
      ['resize() of the reactors', (server) => server.resize({ reactors: 2 })],
      ['reload()', (server) => server.reload()],
    ]
    for (const [what, change] of changes) {
      for (const end of ['an aborted signal', 'close()']) {
        it(`end with the server by ${end} during ${what}`, async () => {
          const abort = new AbortController()
          const server = await serve({ ...options, signal: abort.signal })
          Atomics.store(state, 1, reactorsOrWorkers)
          const refused = change(server).then(
            () => 'done',
            ({ code }: NodeJS.ErrnoException) => code,
          )
          while (Atomics.load(state, 0) === 0) await new Promise(setImmediate)
          if (end === 'close()') await server.close()
          else abort.abort()
          await server[Symbol.asyncDispose]()
          expectNothingLeft(before)
          expect(await refused).to.equal('ERR_MR_CLOSED')
        })
      }
    }
  })
})
