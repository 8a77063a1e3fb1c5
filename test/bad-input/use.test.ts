import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { format } from 'node:util'
import { Worker } from 'node:worker_threads'
import { MultireactorError, native, unlimited } from '@multireactor/addon'
import { type ServeOptions, serve, ServerHandle } from '@multireactor/core'
import { webSocketMessage } from '@multireactor/http'
import { Pool } from '@multireactor/pool'
import { type Connection, delimiter, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { failureOf, fixture } from '../fixtures/bad-failure.js'
import { oddErrors } from '../fixtures/odd_errors.js'
import { lostViews } from '../fixtures/lost_views.js'
import { closedAs } from '../support/closed.js'

const local = { port: 0, host: '127.0.0.1' }
const withPool = (app: string, pool: ServeOptions['pool'] = 1) => serve({ app: fixture(app), listen: local, reactors: 1, pool })

/** All that comes until the peer closes. */
async function received(socket: Socket): Promise<string> {
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  socket.on('error', () => {})
  await once(socket, 'close')
  return text
}

const never = () => expect.fail('it should have failed')

describe('wrong use', () => {
  for (const [line, what] of [
    ['number', '7'],
    ['number later', '7'],
    ['object', 'an object (Object)'],
    ['object later', 'an object (Object)'],
    ['null', 'null'],
    ['list', '1'],
  ] as const) {
    it(`of parse: the reply to "${line}" is reported as ERR_MR_PARSE_RESULT and closes its connection`, async () => {
      await using server = await withPool('bad-parse-result.js')
      const { port } = server.listeners[0]!
      const reported = once(server as never, 'error') as Promise<
        [Error & { code: string }, { hook: string; listener: string; thread: string }]
      >
      const bystander = connect(port, '127.0.0.1')
      const socket = connect(port, '127.0.0.1')
      socket.write(`good\n${line}\ngood\n`)
      const [text, [error, context]] = await Promise.all([received(socket), reported])
      expect(error.code).to.equal('ERR_MR_PARSE_RESULT')
      expect(error.message).to.include(`and is ${what}`)
      expect(context).to.include({ hook: 'parse', thread: 'worker 0' })
      expect(text).to.equal('good\n')
      bystander.end('good\n')
      expect(await received(bystander)).to.equal('good\n')
      expect(await closedAs(server, 'parse-error', 1)).to.equal(1)
    })
  }

  it('of a connection: writing between end() and the close throws, and behind destroy() or the close it does nothing', async () => {
    const codes: Record<string, string> = {}
    const closed: Connection<undefined>[] = []
    const attempt = (name: string, action: () => unknown) => {
      try {
        action()
        codes[name] = 'none'
      } catch (error) {
        codes[name] = (error as { code: string }).code
      }
    }
    let bothClosed!: () => void
    const done = new Promise<void>((resolve) => {
      bothClosed = resolve
    })
    await using reactor = new Reactor()
    const { port } = await reactor.listen(local, {
      message(conn, chunk) {
        const how = chunk.toString()
        if (how === 'end') conn.end('bye')
        else conn.destroy()
        attempt(`write after ${how}`, () => conn.write('more'))
        attempt(`end with data after ${how}`, () => conn.end('more'))
        attempt(`end after ${how}`, () => conn.end())
        if (how === 'destroy') attempt('destroy after destroy', () => conn.destroy())
        attempt(`defer after ${how}`, () => conn.defer())
        attempt(`submit after ${how}`, () => conn.submit('x'))
        attempt(`call after ${how}`, () => conn.run('x'))
      },
      close(conn) {
        if (closed.push(conn) === 2) bothClosed()
      },
    })
    const texts = ['end', 'destroy'].map((how) => {
      const socket = connect(port, '127.0.0.1')
      socket.write(how)
      return received(socket)
    })
    expect(await Promise.all(texts)).to.deep.equal(['bye', ''])
    await done
    attempt('write after close', () => closed[0]!.write('late'))
    attempt('read after close', () => closed[0]!.bytesRead)
    const gone = 'ERR_MR_CONNECTION_CLOSED'
    for (const [how, code] of [
      ['end', gone],
      ['destroy', 'none'],
    ]) {
      expect(codes[`write after ${how}`]).to.equal(code)
      expect(codes[`end with data after ${how}`]).to.equal(code)
      expect(codes[`defer after ${how}`]).to.equal(code)
      expect(codes[`end after ${how}`]).to.equal('none')
      // There is no pool, and that its caller can know.
      expect(codes[`submit after ${how}`]).to.equal('ERR_MR_NO_POOL')
      expect(codes[`call after ${how}`]).to.equal('ERR_MR_NO_POOL')
    }
    expect(codes['destroy after destroy']).to.equal('none')
    expect(codes['write after close']).to.equal('none')
    expect(codes['read after close']).to.equal('none')
  })

  it('of a connection: what is no bytes is refused before it is sent, and frames need a pool', async () => {
    const codes: string[] = []
    await using reactor = new Reactor()
    const { port } = await reactor.listen(local, {
      message(conn) {
        for (const action of [
          () => conn.write(7 as never),
          () => conn.write({} as never),
          () => conn.write(undefined as never),
          () => conn.submit('x'),
          () => conn.setTimeout(-1),
          () => conn.setKeepAlive(true, -1),
          () => conn.setKeepAlive(true, Number.NaN),
          () => conn.destroy('bored' as never),
          () => conn.setFraming({} as never),
        ]) {
          try {
            action()
            codes.push('none')
          } catch (error) {
            codes.push((error as { code: string }).code)
          }
        }
        conn.end('done')
      },
    })
    const socket = connect(port, '127.0.0.1')
    socket.write('go')
    expect(await received(socket)).to.equal('done')
    const data = 'ERR_MR_DATA'
    expect(codes).to.deep.equal([
      data,
      data,
      data,
      'ERR_MR_NO_POOL',
      'ERR_MR_OPTION_RANGE',
      'ERR_MR_OPTION_RANGE',
      'ERR_MR_OPTION_RANGE',
      'ERR_MR_OPTION_RANGE',
      'ERR_MR_OPTION_TYPE',
    ])
  })

  it('of a connection: frames that nobody parses are refused at the call, whether there is a pool or not', async () => {
    for (const pool of [0, 1]) {
      await using server = await serve({
        app: new URL('../fixtures/no-parse.js', import.meta.url),
        listen: local,
        reactors: 1,
        pool,
      })
      const socket = connect(server.listeners[0]!.port, '127.0.0.1')
      socket.write('go\n')
      const answer = await received(socket)
      expect(answer).to.match(/^submit ERR_MR_NO_POOL .* run ERR_MR_NO_POOL /)
      // The error names the missing part.
      expect(answer).to.include(pool === 0 ? 'start the server with pool: 1 or more' : 'the app has no parse hook')
      expect(answer.includes('pool: 1')).to.equal(pool === 0)
    }
  })

  it('of a connection: bytes whose memory is gone are refused, wherever they are given', async () => {
    const codes: Record<string, string> = {}
    await using reactor = new Reactor()
    const { port } = await reactor.listen(local, {
      async message(conn) {
        for (const [view, lost] of Object.entries(lostViews)) {
          const later = conn.defer()
          const calls = {
            write: () => conn.write(lost()),
            submit: () => conn.submit(lost()),
            call: () => conn.run(lost()),
            publish: () => conn.publish('topic', lost()),
            'publish of the reactor': () => reactor.publish('topic', lost()),
            'write later': () => later.write(lost()),
            'end later': () => later.end(lost()),
            end: () => conn.end(lost()),
            delimiter: () => delimiter(lost()),
          }
          for (const [name, call] of Object.entries(calls)) codes[`${name} ${view}`] = (await failureOf(call)).code
          later.end()
        }
        conn.write(new Uint8Array(0))
        conn.end('done')
      },
    })
    const socket = connect(port, '127.0.0.1')
    socket.write('go')
    expect(await received(socket)).to.equal('done')
    for (const [name, code] of Object.entries(codes)) {
      expect(code, name).to.equal(name.startsWith('delimiter') ? 'ERR_MR_OPTION_TYPE' : 'ERR_MR_DATA')
    }
    expect(codes).to.include.keys('delimiter grown')
    await using server = await serve({ app: fixture('bad-echo.js'), listen: local, reactors: 1, pool: 0 })
    for (const lost of Object.values(lostViews)) {
      expect((await failureOf(() => server.send(1n, lost()))).code).to.equal('ERR_MR_DATA')
      expect((await failureOf(() => server.publish('topic', lost()))).code).to.equal('ERR_MR_DATA')
      expect((await failureOf(() => server.call(0, lost()))).code).to.equal('ERR_MR_DATA')
      expect((await failureOf(() => webSocketMessage(lost()))).code).to.equal('ERR_MR_DATA')
    }
  })

  it('of a connection: an argument of a wrong type is refused with its name and its value', async () => {
    const errors: Record<string, Promise<Error & { code: string }>> = {}
    await using reactor = new Reactor()
    const { port } = await reactor.listen(local, {
      message(conn) {
        const attempt = (action: () => unknown, text: string) => {
          errors[text] = failureOf(action)
        }
        attempt(() => conn.setNoDelay(1 as never), "setNoDelay(): 'on' must be true or false, and is 1")
        attempt(() => conn.setKeepAlive('x' as never), '\'on\' must be true or false, and is "x"')
        attempt(() => conn.setKeepAlive(true, '5' as never), "setKeepAlive(): 'initialDelayMs' must be a number, and is")
        attempt(() => conn.setTimeout('5' as never), '\'milliseconds\' must be a number, and is "5"')
        attempt(
          () => conn.reply('', true as never),
          'reply(): the options must be an object such as { ascii: true }, and are true',
        )
        attempt(() => conn.toDuplex(null as never), 'toDuplex(): the options must be an object, and are null')
        attempt(() => conn.toDuplex({ allowHalfOpen: 1 } as never), "'allowHalfOpen' must be true or false, and is 1")
        attempt(() => conn.toDuplex({ highWaterMark: '1' } as never), "'highWaterMark' must be a number")
        conn.setNoDelay().setKeepAlive().setKeepAlive(true, 1500.5).setTimeout(0)
        conn.end('done')
      },
    })
    const socket = connect(port, '127.0.0.1')
    socket.write('go')
    expect(await received(socket)).to.equal('done')
    expect(Object.keys(errors)).to.have.length(8)
    for (const [text, error] of Object.entries(errors)) {
      expect((await error).code, text).to.equal('ERR_MR_OPTION_TYPE')
      expect((await error).message).to.include(text)
    }
  })

  it('of a framing: a forged one is refused with an error of our class, and a listener that was refused leaves nothing behind', async () => {
    await using reactor = new Reactor()
    const message = (conn: Connection<undefined>) => conn.write('right')
    for (const framing of [
      null,
      5,
      {},
      { native: null },
      { native: { kind: 99 } },
      { native: { kind: 3, maxBytes: Number.NaN } },
    ]) {
      const error = await failureOf(() => reactor.listen(local, { message: () => {}, framing: framing as never }))
      expect(error).to.be.instanceOf(MultireactorError)
      expect(error.code).to.be.oneOf(['ERR_MR_OPTION_TYPE', 'ERR_MR_OPTION_RANGE'])
    }
    const failed: unknown[] = []
    const { port } = await reactor.listen(local, {
      async message(conn) {
        failed.push(await failureOf(() => conn.setFraming({ native: { kind: 99 } } as never)))
        message(conn)
      },
    })
    const socket = connect(port, '127.0.0.1')
    socket.write('x')
    // The handlers of the listener itself, not of one that was refused before it.
    expect(String((await once(socket, 'data'))[0])).to.equal('right')
    expect(failed[0]).to.be.instanceOf(MultireactorError)
    socket.destroy()
  })

  it('of a reactor: unref() and ref() of one that has closed do nothing', async () => {
    const reactor = new Reactor()
    await reactor.close()
    expect(reactor.unref().ref()).to.equal(reactor)
  })

  it('of a hook: what it throws may be anything, is logged, and closes its connection', async () => {
    const logged: string[] = []
    const { error: before } = console
    console.error = (...args) => {
      logged.push(format(...args))
    }
    try {
      await using reactor = new Reactor()
      const kinds = Object.keys(oddErrors)
      for (const kind of kinds) {
        // A listener for each: the log has at most one line a second for one and its hook.
        const { port } = await reactor.listen(local, {
          message() {
            throw oddErrors[kind]!()
          },
        })
        const socket = connect(port, '127.0.0.1')
        socket.write(kind)
        expect(await received(socket)).to.equal('')
        const open = (): never => {
          throw oddErrors[kind]!()
        }
        expect(
          await reactor.connect({ port }, { open }).then(never, (error: unknown) => error instanceof Error || kind),
        ).to.equal(true)
      }
      expect(logged).to.have.length(kinds.length * 2)
      // The form of the value differs between versions of Node.
      for (const line of logged) expect(line).to.match(/^multireactor: the (message|open) hook of listener .* failed: ./s)
      expect(reactor.stats().closed['handler-error']).to.equal(kinds.length * 2)
    } finally {
      console.error = before
    }
  })

  it('of a server, a reactor or a pool: closing twice fails with ERR_MR_CLOSED, disposing twice does not', async () => {
    const server = await serve({ app: fixture('bad-echo.js'), listen: local, reactors: 1, pool: 0 })
    const reactor = new Reactor()
    await reactor.listen(local, { message() {} })
    const pool = new Pool({ worker: fixture('pool-echo.js'), size: 1 })
    for (const one of [server, reactor, pool]) {
      const first = one.close()
      expect((await failureOf(() => one.close())).code, 'while it closes').to.equal('ERR_MR_CLOSED')
      await first
      expect((await failureOf(() => one.close())).code, 'after it has closed').to.equal('ERR_MR_CLOSED')
      expect((await failureOf(() => one.stats())).code).to.equal('ERR_MR_CLOSED')
      await one[Symbol.asyncDispose]()
    }
    expect((await failureOf(() => reactor.listen(local, { message() {} }))).code).to.equal('ERR_MR_CLOSED')
    expect((await failureOf(() => pool.run('x'))).code).to.equal('ERR_MR_CLOSED')
    expect((await failureOf(() => server.send(1n, 'x'))).code).to.equal('ERR_MR_CLOSED')
  })

  it('of close(): a wrong timeoutMs is refused, and the server stays open', async () => {
    await using server = await serve({ app: fixture('bad-echo.js'), listen: local, reactors: 1, pool: 0 })
    expect((await failureOf(() => server.close({ timeoutMs: -1 }))).code).to.equal('ERR_MR_OPTION_RANGE')
    expect((await failureOf(() => server.close({ timeout: 1 } as never))).message).to.include("did you mean 'timeoutMs'?")
    expect(server.stats().connections.open).to.equal(0)
  })

  it('of send(): what is no id or no bytes is refused', async () => {
    await using server = await serve({ app: fixture('bad-echo.js'), listen: local, reactors: 1, pool: 0 })
    expect((await failureOf(() => server.send(1 as never, 'x'))).code).to.equal('ERR_MR_DATA')
    expect((await failureOf(() => server.send(1n, {} as never))).code).to.equal('ERR_MR_DATA')
  })

  it('of ServerHandle.of(): what is no token is refused, and a server that there is not', async () => {
    for (const token of [undefined, null, '1', 1n, {}, Symbol('token'), 1.5, -1, Number.NaN, 2 ** 32]) {
      const error = await failureOf(() => ServerHandle.of(token as never))
      expect(error.code, String(token)).to.equal('ERR_MR_OPTION_TYPE')
      expect(error.message).to.include('server.token')
    }
    expect((await failureOf(() => ServerHandle.of(0xffff_ffff))).code).to.equal('ERR_MR_CLOSED')
  })

  it('of a reactor on a second thread fails with ERR_MR_WRONG_THREAD', async () => {
    const runtime = native.createRuntime({ ...unlimited, reactors: 1, workers: 0, maxReactors: 1, maxWorkers: 0 })
    const driver = new native.ReactorDriver(
      runtime,
      0,
      () => {},
      (size) => Buffer.alloc(size),
    )
    try {
      const worker = new Worker(fixture('bad-wrong-thread.mjs'), { workerData: { runtime } })
      // At once: a thread that has ended before its message is read says both in one go.
      const [[code]] = (await Promise.all([once(worker, 'message'), once(worker, 'exit')])) as [[string], unknown]
      expect(code).to.equal('ERR_MR_WRONG_THREAD')
    } finally {
      driver.close()
      native.removeRuntime(runtime)
    }
  })

  it('of a pool: a task larger than the whole queue may be is refused, and a smaller one runs', async () => {
    await using pool = new Pool({ worker: fixture('pool-echo.js'), size: 1, maxQueuedBytes: 100 })
    const error = await failureOf(() => pool.run('x'.repeat(101)))
    expect(error.code).to.equal('ERR_MR_TASK_TOO_LARGE')
    expect(error.message).to.include('101').and.include('100')
    expect((await pool.run('x'.repeat(100))).length).to.equal(100)
  })

  it('of a server: a frame larger than the whole queue may be passes alone, and the next ones follow', async () => {
    await using server = await withPool('bad-parse-length.js', { size: 1, maxQueuedBytes: 1000 })
    const socket = connect(server.listeners[0]!.port, '127.0.0.1')
    socket.end(`${'x'.repeat(5000)}\n${'x'.repeat(500)}\n${'x'.repeat(3000)}\n`)
    expect(await received(socket)).to.equal('5000\n500\n3000\n')
  })

  it('of a pool: what is no bytes is refused', async () => {
    await using pool = new Pool({ worker: fixture('pool-echo.js'), size: 1 })
    for (const bytes of [7, {}, null, undefined, [1], new ArrayBuffer(1)]) {
      expect((await failureOf(() => pool.run(bytes as never))).code).to.equal('ERR_MR_DATA')
    }
    expect((await failureOf(() => pool.run('x', { singal: 1 } as never))).message).to.include("did you mean 'signal'?")
  })
})
