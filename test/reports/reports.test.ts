import net from 'node:net'
import { MultireactorError } from '@multireactor/addon'
import { serve } from '@multireactor/core'
import { Reactor } from '@multireactor/reactor'
import { kindOfFailure, ReportLimit } from '@multireactor/reactor/listen'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { HttpServer, statuses } from '../support/http.js'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('the lines of the log', () => {
  it('are one a second for each kind, and the next one says how many there were', () => {
    let now = 5_000
    const limit = new ReportLimit(() => now)
    expect(limit.admit('a')).to.equal('')
    for (let i = 0; i < 1_000; i++) expect(limit.admit('a')).to.equal(undefined)
    expect(limit.admit('b')).to.equal('')
    now += 999
    expect(limit.admit('a')).to.equal(undefined)
    now += 1
    expect(limit.admit('a')).to.equal(' (and 1001 more in the last 1 s)')
    expect(limit.admit('a')).to.equal(undefined)
    now += 60_000
    expect(limit.admit('a')).to.equal(' (and 1 more in the last 60 s)')
    now += 60_000
    expect(limit.admit('a')).to.equal('')
  })

  it('tell kinds apart by listener, hook and code or class', () => {
    const kinds = [
      kindOfFailure(new Error('x'), 'message', 'a'),
      kindOfFailure(new Error('another text'), 'message', 'a'),
      kindOfFailure(new TypeError('x'), 'message', 'a'),
      kindOfFailure(new MultireactorError('ERR_MR_DATA', 'x'), 'message', 'a'),
      kindOfFailure(new Error('x'), 'close', 'a'),
      kindOfFailure(new Error('x'), 'message', 'b'),
    ]
    expect(new Set(kinds).size).to.equal(5)
    expect(kinds[0]).to.equal(kinds[1])
  })

  it('remember a bounded number of kinds', () => {
    const limit = new ReportLimit(() => 0)
    for (let i = 0; i < 1_001; i++) expect(limit.admit(`${i}`)).to.equal('')
    expect(limit.admit('1000')).to.equal(undefined)
    expect(limit.admit('0')).to.equal('')
  })
})

describe('failures that peers cause', () => {
  const before = census()
  afterEach(async () => {
    await new Promise((resolve) => setImmediate(resolve))
    expectNothingLeft(before)
  })

  /** At most one line a second: counted over the time that it took, however long that was. */
  const expectLimited = (lines: number, sinceMs: number): void => {
    expect(lines).to.be.at.least(1)
    expect(lines).to.be.at.most(1 + Math.floor((performance.now() - sinceMs) / 1_000))
  }

  it('a hook that throws for each peer writes a line a second, and onError hears of each', async () => {
    const lines: unknown[] = []
    const own = console.error
    console.error = (...args: unknown[]) => void lines.push(args)
    try {
      await using reactor = new Reactor()
      const heard: unknown[] = []
      await using other = new Reactor({ onError: (error) => void heard.push(error) })
      const message = (): void => {
        throw new Error('no')
      }
      const since = performance.now()
      for (const each of [reactor, other]) {
        const { port } = await each.listen({ port: 0, host: '127.0.0.1' }, { message })
        for (let i = 0; i < 40; i++) {
          const client = await Client.connect(port)
          client.write('x')
          await client.until((one) => one.closed)
        }
      }
      expectLimited(lines.length, since)
      expect(heard).to.have.length(40)
    } finally {
      console.error = own
    }
  })

  it('a line has the code of the error and of its causes, and the thread and the hook', async () => {
    const lines: string[] = []
    const logger = { debug() {}, info() {}, warn() {}, error: (line: string) => void lines.push(line) }
    await using server = await serve({
      app: app('failing'),
      listen: { port: 0, host: '127.0.0.1', name: 'here' },
      reactors: 1,
      logger,
    })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('coded\n')
    await client.until((one) => one.closed)
    while (lines.length === 0) await new Promise(setImmediate)
    const [first, ...rest] = lines[0]!.split('\n')
    expect(first).to.match(/^reactor 0, message of listener here: MultireactorError \[ERR_MR_DATA\]: a code/)
    expect(rest.find((line) => line.includes('caused by'))).to.equal('  caused by TypeError [ERR_ITS_OWN]: a cause')
  })

  it('the logger of a server gets a line a second for each kind, and an event each', async () => {
    const lines: string[] = []
    const logger = { debug() {}, info() {}, warn() {}, error: (line: string) => void lines.push(line) }
    await using server = await serve({ app: app('failing'), listen: { port: 0, host: '127.0.0.1' }, reactors: 1, logger })
    const since = performance.now()
    const fail = async (line: string): Promise<void> => {
      const client = await Client.connect(server.listeners[0]!.port)
      client.write(`${line}\n`)
      await client.until((one) => one.closed)
    }
    for (let i = 0; i < 30; i++) await fail('line')
    await fail('type')
    while (!lines.some((line) => line.includes('a type'))) await new Promise(setImmediate)
    expectLimited(lines.filter((line) => line.includes('a line')).length, since)
    let events = 0
    server.on('error', () => {
      events++
    })
    for (let i = 0; i < 10; i++) await fail('line')
    while (events < 10) await new Promise(setImmediate)
  })

  const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'
  const bodies: [what: string, rest: string, status: number][] = [
    ['a chunk line that is broken', 'zz\r\n', 400],
    ['a body that is too long', 'fff\r\n'.padEnd(4_200, 'x'), 413],
  ]
  const readers = {
    bytes: async (read: () => Promise<unknown>) => void (await read()),
    wrapped: async (read: () => Promise<unknown>) => {
      await read().catch((cause: unknown) => {
        throw new Error('no body', { cause })
      })
    },
  }
  for (const [name, reader] of Object.entries(readers)) {
    for (const [what, rest, status] of bodies) {
      it(`${what} is not the app's error (${name})`, async () => {
        let failed = 0
        const server = await HttpServer.start({
          maxBodyBytes: 1_000,
          request: async (req, res) => {
            await reader(() => req.bytes()).catch((error: unknown) => {
              failed++
              throw error
            })
            res.end()
          },
        })
        expect(statuses(await server.exchange(head, rest))).to.deep.equal([status])
        while (failed === 0) await new Promise(setImmediate)
        expect(server.errors).to.deep.equal([])
        await server.close()
      })
    }
    it(`an upload that is reset is not the app's error (${name})`, async () => {
      let failed = 0
      const server = await HttpServer.start({
        request: async (req) => {
          await reader(() => req.bytes()).catch((error: unknown) => {
            failed++
            throw error
          })
        },
      })
      const socket = net.connect(server.port, '127.0.0.1')
      socket.write(head)
      while (server.reactor.stats().framesRead < 2) await new Promise(setImmediate)
      socket.resetAndDestroy()
      while (failed === 0) await new Promise(setImmediate)
      await new Promise((resolve) => setImmediate(resolve))
      expect(server.errors).to.deep.equal([])
      await server.close()
    })
  }

  it('a body that nobody awaits when its peer leaves ends nothing', async () => {
    const begun: unknown[] = []
    const unhandled: unknown[] = []
    const onUnhandled = (reason: unknown): void => void unhandled.push(reason)
    process.on('unhandledRejection', onUnhandled)
    const server = await HttpServer.start({
      request(req) {
        begun.push(void req.json())
        return new Promise(() => {})
      },
    })
    const socket = net.connect(server.port, '127.0.0.1')
    socket.write(head)
    while (begun.length === 0 || server.reactor.stats().framesRead < 2) await new Promise(setImmediate)
    socket.resetAndDestroy()
    while (server.reactor.stats().open !== 0) await new Promise(setImmediate)
    // In a reactor's thread it would end the thread.
    for (let i = 0; i < 20; i++) await new Promise(setImmediate)
    process.off('unhandledRejection', onUnhandled)
    expect(unhandled).to.deep.equal([])
    await server.close()
  })

  it('a stream that is left early is not the error of parse, nor is a toDuplex() that is reset', async () => {
    const errors: Error[] = []
    await using server = await serve({
      app: app('streaming'),
      listen: { port: 0, host: '127.0.0.1' },
      reactors: 1,
      pool: 1,
    })
    server.on('error', (error) => void errors.push(error))
    for (let i = 0; i < 5; i++) {
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('go\n')
      await client.bytes(1)
      client.socket.resetAndDestroy()
    }
    while (server.stats().connections.open !== 0) await new Promise(setImmediate)
    while (server.stats().memory.tasks !== 0) await new Promise(setImmediate)
    expect(errors).to.deep.equal([])

    const heard: unknown[] = []
    await using reactor = new Reactor({ onError: (error) => void heard.push(error) })
    let left!: () => void
    const over = new Promise<void>((resolve) => {
      left = resolve
    })
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      {
        async message(conn) {
          try {
            for await (const _ of conn.toDuplex());
          } finally {
            left()
          }
        },
      },
    )
    const client = await Client.connect(port)
    client.write('x')
    while (reactor.stats().framesRead === 0) await new Promise(setImmediate)
    client.socket.resetAndDestroy()
    await over
    await new Promise((resolve) => setImmediate(resolve))
    expect(heard).to.deep.equal([])
  })
})
