import { once, setMaxListeners } from 'node:events'
import { Worker } from 'node:worker_threads'
import { lines, type Server, type ServeOptions, serve } from '@multireactor/core'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

// The types of Node name it, and no class of it.
const wasm = (globalThis as unknown as { WebAssembly: { Module: new (bytes: Uint8Array) => object } }).WebAssembly
const silent = { debug() {}, info() {}, warn() {}, error() {} }
type Failure = Error & { code?: string }
const failure = (promise: Promise<unknown>): Promise<Failure> =>
  promise.then(
    () => expect.fail('it should have failed'),
    (error: Failure) => error,
  )

describe('work that is handed to the pool', () => {
  let server: Server | undefined
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    await server?.close({ timeoutMs: 1_000 }).catch(() => {})
    server = undefined
    expectNothingLeft(before)
  })
  const start = async (options: Partial<ServeOptions> = {}): Promise<Server> => {
    server = await serve({ app: app('tasks'), listen: 0, reactors: 2, pool: 1, logger: silent, ...options })
    return server
  }

  describe('runTask', () => {
    it('takes and gives what structuredClone does, from a connection, from a hook and from the thread of the server', async () => {
      const { listeners, runTask } = { listeners: (await start()).listeners, runTask: (value: unknown) => server!.runTask(value) }
      const value = {
        date: new Date(5),
        map: new Map([[1, new Set(['a'])]]),
        big: 1n << 70n,
        bytes: new Uint8Array([1, 2, 3]),
        floats: new Float64Array([0.5, -1]),
        nothing: undefined,
        error: new RangeError('x'),
        text: 'é💡',
      }
      expect(await runTask(value)).to.deep.equal({ ...value })
      expect(await runTask(undefined)).to.equal(undefined)
      const circle: { self?: unknown } = {}
      circle.self = circle
      const back = (await runTask(circle)) as typeof circle
      expect(back.self).to.equal(back)
      const large = new Float64Array(300_000).fill(0.25)
      expect(await runTask({ large })).to.deep.equal({ large })
      const client = await Client.connect(listeners[0]!.port)
      client.write('runTask {"a":[1]}\nserver.runTask "later"\nrunTask\nrun 5\nserver.run 6\nreactors\n')
      expect(await client.lines(6)).to.deep.equal(['{"a":[1]}', '{"later":true}', 'undefined', '"parsed 5"', '"parsed 6"', '2'])
      client.destroy()
      await client.untilClosed()
    })

    it('runs in the pool and not on the thread of its caller', async () => {
      const client = await Client.connect((await start()).listeners[0]!.port)
      client.write('runTask "thread"\nserver.runTask "thread"\n')
      const [first, second] = await client.lines(2)
      expect(first).to.equal(second)
      expect(Number(first))
        .to.equal(await server!.runTask('thread'))
        .and.to.be.above(0)
      client.destroy()
      await client.untilClosed()
    })

    it('rejects with the error of task, its name and its code, and with ERR_MR_DATA for what is no data', async () => {
      await start()
      const error = await failure(server!.runTask('throw'))
      expect([error.name, error.message, error.code]).to.deep.equal(['RangeError', 'no such value', 'E_OWN'])
      expect((await failure(server!.runTask('reject'))).message).to.equal('not that')
      const given = await failure(server!.runTask(() => 1))
      expect(given.code).to.equal('ERR_MR_DATA')
      expect(given.message).to.include('runTask(): the value cannot go to another thread').and.include('() => 1')
      const returned = await failure(server!.runTask('function'))
      expect(returned.code).to.equal('ERR_MR_DATA')
      expect(returned.message).to.include('the result of task()')
      expect((await failure(server!.runTask('write'))).code).to.equal('ERR_MR_STATE')
      // V8 writes it, and does not read it again.
      const module = new wasm.Module(Buffer.from('0061736d01000000', 'hex'))
      expect((await failure(server!.runTask(module))).code).to.equal('ERR_MR_DATA')
      expect((await failure(server!.runTask('module'))).code).to.equal('ERR_MR_DATA')
      const client = await Client.connect(server!.listeners[0]!.port)
      client.write('runTask "throw"\nfunction\nrunTask "function"\nrunTask "write"\nrunTask "reject"\n')
      expect(await client.lines(5)).to.deep.equal(['E_OWN', 'ERR_MR_DATA', 'ERR_MR_DATA', 'ERR_MR_STATE', 'TypeError'])
      client.destroy()
      await client.untilClosed()
    })

    it('rejects when its worker dies, its time is over, its connection closes or the server does', async () => {
      await start({ pool: { size: 1, taskTimeoutMs: 200 } })
      expect((await failure(server!.runTask('exit'))).code).to.equal('ERR_MR_TASK_LOST')
      expect((await failure(server!.runTask('never'))).code).to.equal('ERR_MR_TASK_TIMEOUT')
      const client = await Client.connect(server!.listeners[0]!.port)
      client.write('runTask "never"\n')
      client.destroy()
      await client.untilClosed()
      const last = failure(server!.runTask('never'))
      await server!.close({ timeoutMs: 0 })
      expect((await last).code).to.be.oneOf(['ERR_MR_CLOSED', 'ERR_MR_TASK_TIMEOUT'])
      expect((await failure(server!.runTask(1))).code).to.equal('ERR_MR_CLOSED')
    })
  })

  describe('server.run and server.runTask', () => {
    it('reach the app of the listener that is named, else the first app that has the hook', async () => {
      await start({
        listen: [
          { name: 'silent', port: 0, app: app('echo') },
          { name: 'one', port: 0 },
          { name: 'two', port: 0 },
        ],
      })
      expect(await server!.runTask('listener')).to.equal('one')
      expect(await server!.runTask('listener', { listener: 'two' })).to.equal('two')
      expect((await server!.run('x', { listener: 'two' })).toString()).to.equal('parsed x')
      const none = await failure(server!.runTask(1, { listener: 'silent' }))
      expect(none.code).to.equal('ERR_MR_NO_POOL')
      expect(none.message).to.include('"silent" has no task hook')
      const nowhere = await failure(server!.run('x', { listener: 'three' }))
      expect(nowhere.code).to.equal('ERR_MR_NO_LISTENER')
      expect(nowhere.message).to.include('"three"; it has silent, one, two')
    })

    it('come from threads of the app, too, and keep them alive until the result is there', async () => {
      await start()
      const code = `
        const { workerData, parentPort } = require('node:worker_threads')
        import(workerData.core).then(async ({ ServerHandle }) => {
          const server = ServerHandle.of(workerData.token)
          parentPort.postMessage([await server.runTask({ a: 1 }), String(await server.run('x')), server.reactors])
          server.close()
        })`
      const worker = new Worker(code, {
        eval: true,
        workerData: { core: import.meta.resolve('@multireactor/core'), token: server!.token },
      })
      // At once: a thread that has ended before its message is read says both in one go.
      const [message] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
      expect(message).to.deep.equal([[{ a: 1 }, 'parsed x', 2]])
    })

    it('are there for the handlers of an existing server', async () => {
      await start({ app: app('tasks-existing') })
      const { port } = server!.listeners[0]!
      const get = async (path: string) =>
        (await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } })).text()
      expect(await get('/task')).to.equal('{"twice":40}')
      expect(await get('/x')).to.equal('parsed /x')
    })

    it('say what is missing: a pool, a hook, room, and refuse what is no option', async () => {
      await start({ app: app('echo'), pool: 0 })
      expect((await failure(server!.run('x'))).message).to.include('the server has no pool')
      await server!.close()
      await start({ app: app('tasks'), pool: { size: 1, maxQueuedBytes: 1_000 } })
      const large = await failure(server!.run(Buffer.alloc(2_000)))
      expect(large.code).to.equal('ERR_MR_TASK_TOO_LARGE')
      expect(large.message).to.include('2000 bytes, and pool.maxQueuedBytes is 1000')
      expect((await failure(server!.run(5 as never))).code).to.equal('ERR_MR_DATA')
      expect((await failure(server!.run('x', { timeout: 1 } as never))).code).to.equal('ERR_MR_UNKNOWN_OPTION')
      expect((await failure(server!.runTask('x', { signal: AbortSignal.abort(new Error('not now')) }))).message).to.equal(
        'not now',
      )
    })

    it('wait for room in the queue, or are refused with onQueueFull: reject', async () => {
      await start({ pool: { size: 1, maxQueued: 2 } })
      const all = await Promise.all(Array.from({ length: 50 }, (_, i) => server!.runTask(i)))
      expect(all).to.deep.equal(Array.from({ length: 50 }, (_, i) => i))
      await server!.close()
      await start({ pool: { size: 1, maxQueued: 2, onQueueFull: 'reject' } })
      const blocked = server!.runTask('block')
      const results = await Promise.allSettled(Array.from({ length: 500 }, (_, i) => server!.runTask(i)))
      await blocked
      const refused = results.filter((one) => one.status === 'rejected').map((one) => (one.reason as Failure).code)
      expect(new Set(refused)).to.deep.equal(new Set(['ERR_MR_QUEUE_FULL']))
      for (const [i, one] of results.entries()) if (one.status === 'fulfilled') expect(one.value).to.equal(i)
    })

    it('have copied the bytes before they return, for those that wait for room, too', async () => {
      await start({ pool: { size: 1, maxQueued: 2 } })
      const blocked = server!.runTask('block')
      const before = Array.from({ length: 20 }, (_, i) => server!.runTask(i))
      const [changed, detached] = [new Uint8Array(4).fill(0x61), new Uint8Array(4).fill(0x62)]
      const runs = Promise.all([server!.run(changed), server!.run(detached)])
      changed.fill(0x63)
      structuredClone(detached.buffer, { transfer: [detached.buffer] })
      await blocked
      await Promise.all(before)
      expect((await runs).map(String)).to.deep.equal(['parsed aaaa', 'parsed bbbb'])
    })

    it('drop what is aborted, whether it waits or runs, and go on', async () => {
      await start({ pool: { size: 1, maxQueued: 2 } })
      const abort = new AbortController()
      const { signal } = abort
      setMaxListeners(0, signal)
      const running = failure(server!.runTask('never', { signal }))
      const waiting = Array.from({ length: 20 }, (_, i) => failure(server!.runTask(i, { signal })))
      abort.abort(new Error('enough'))
      expect((await running).message).to.equal('enough')
      for (const one of waiting) expect((await one).message).to.equal('enough')
      expect(await server!.runTask('still there')).to.equal('still there')
    })

    it('know after a reload what the new code has', async () => {
      await start()
      const first = server!.runTask('later')
      await server!.reload()
      expect(await first).to.deep.equal({ later: true })
      expect(await server!.runTask(7)).to.equal(7)
    })
  })

  describe('of a server', () => {
    it('callAll asks every reactor that runs', async () => {
      await start()
      const said = (all: Buffer[]): string[] => all.map(String)
      expect(said(await server!.callAll('x'))).to.deep.equal(['0 x', '1 x'])
      await server!.resize({ reactors: 1 })
      expect(server!.reactors).to.equal(1)
      expect(said(await server!.callAll('y'))).to.deep.equal(['0 y'])
    })

    it('destroy ends a connection on whatever reactor, behind what was sent to it', async () => {
      await start()
      const clients = await Promise.all(Array.from({ length: 8 }, () => Client.connect(server!.listeners[0]!.port)))
      for (const client of clients) {
        client.write('id\n')
        const id = BigInt(JSON.parse((await client.lines(1))[0]!) as string)
        void server!.send(id, 'last words\n')
        expect(await server!.destroy(id)).to.equal(true)
        expect((await client.lines(2))[1]).to.equal('last words')
        await client.untilClosed()
        expect(await server!.destroy(id)).to.equal(false)
      }
      expect(server!.stats().connections.closed.destroyed).to.equal(8)
      expect((await failure(server!.destroy(5 as never))).code).to.equal('ERR_MR_DATA')
    })
  })

  it('of a connection that has no pool behind it is refused at the call', async () => {
    const reactor = new Reactor()
    const told: string[] = []
    const { port } = await reactor.listen(
      { port: 0 },
      {
        framing: lines(),
        message(conn) {
          for (const way of ['run', 'runTask'] as const) {
            try {
              void conn[way]('x')
            } catch (error) {
              told.push((error as Failure).code!)
            }
          }
          conn.end('done\n')
        },
      },
    )
    const client = await Client.connect(port)
    client.write('x\n')
    await client.untilClosed()
    expect(told).to.deep.equal(['ERR_MR_NO_POOL', 'ERR_MR_NO_POOL'])
    await reactor.close()
  })
})
