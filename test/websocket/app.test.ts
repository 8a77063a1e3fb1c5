import { once } from 'node:events'
import type { MultireactorError } from '@multireactor/addon'
import { type HttpAppOptions, httpApp, type ServerWebSocket, webSocketMessage } from '@multireactor/http'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { Client } from '../support/client.js'
import { flood } from '../support/flood.js'
import { HttpServer, statuses } from '../support/http.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { behindHandshake, closeFrame, converse, frame, handshake, wordsOf } from '../support/websocket.js'

const codeOf = (action: () => unknown): unknown => {
  try {
    action()
  } catch (error) {
    return (error as MultireactorError).code
  }
  return undefined
}

/** A promise, and the function that settles it. */
function gate<T = void>(): { promise: Promise<T>; open(value: T): void } {
  let open!: (value: T) => void
  const promise = new Promise<T>((resolve) => {
    open = resolve
  })
  return { promise, open }
}

describe('a WebSocket app', () => {
  let left: ReturnType<typeof census>
  const servers: HttpServer[] = []
  const clients: { terminate(): void }[] = []
  beforeEach(() => {
    left = census()
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client.terminate()
    for (const server of servers.splice(0)) await server.close()
    // The handles of a reactor are closed by the next turn of the loop.
    await new Promise((resolve) => setImmediate(resolve))
    expectNothingLeft(left)
  })

  async function start<Data>(websocket: HttpAppOptions<Data>['websocket'], rest: HttpAppOptions<Data> = {}): Promise<HttpServer> {
    const server = await HttpServer.start({ ...rest, websocket } as HttpAppOptions)
    servers.push(server)
    return server
  }
  async function open(server: HttpServer, path = '/', protocols: string[] = [], options = {}): Promise<WebSocket> {
    const client = new WebSocket(`ws://127.0.0.1:${server.port}${path}`, protocols, options)
    clients.push(client)
    await once(client, 'open')
    return client
  }
  /** A client that remembers its messages. */
  async function listener(server: HttpServer): Promise<{ client: WebSocket; got: string[]; until(text: string): Promise<void> }> {
    const client = new WebSocket(`ws://127.0.0.1:${server.port}`)
    clients.push(client)
    const got: string[] = []
    client.on('message', (data: Buffer) => got.push(data.toString()))
    await once(client, 'open')
    const until = async (text: string): Promise<void> => {
      while (!got.includes(text)) await once(client, 'message')
    }
    return { client, got, until }
  }
  async function raw(server: HttpServer): Promise<Client> {
    const client = await Client.connect(server.port)
    clients.push({ terminate: () => client.destroy() })
    client.write(handshake())
    await client.until(({ received }) => received.includes('\r\n\r\n'))
    return client
  }
  const framesOf = (client: Client): string[] => wordsOf(behindHandshake(client.received.toString('latin1')))

  it('awaits an async open: messages wait, and a rejection closes the WebSocket before any of them', async () => {
    const opening = gate<boolean>()
    const said: string[] = []
    const server = await start({
      async open(ws) {
        said.push('open')
        if (!(await opening.promise)) throw new Error('no such user')
        ws.send('welcome')
      },
      message(ws, data) {
        said.push(String(data))
        ws.send(data)
      },
    })
    const { client, until } = await listener(server)
    client.send('one')
    client.send('x'.repeat(200_000))
    client.send('two')
    while (said.length === 0) await new Promise(setImmediate)
    for (let i = 0; i < 50; i++) await new Promise(setImmediate)
    expect(said).to.deep.equal(['open'])
    opening.open(true)
    await until('two')
    expect(said.map((word) => word.slice(0, 4))).to.deep.equal(['open', 'one', 'xxxx', 'two'])

    const refusing = gate<boolean>()
    const other = await start({
      async open() {
        await refusing.promise
        throw new Error('no such user')
      },
      message() {
        said.push('a message')
      },
    })
    const refused = await open(other)
    refused.send('three')
    for (let i = 0; i < 50; i++) await new Promise(setImmediate)
    refusing.open(true)
    const [code] = await once(refused, 'close')
    expect(code).to.equal(1011)
    expect(said).to.not.include('a message')
  })

  // ---------------------------------------------------------------- pending hooks

  it('calls no message hook while maxPendingMessages of them are pending, messages and pongs alike', async () => {
    const begun: string[] = []
    const ends: (() => void)[] = []
    const hold = (data: string): Promise<void> => {
      begun.push(data)
      return new Promise((resolve) => ends.push(resolve))
    }
    const server = await start({
      maxPendingMessages: 1,
      message: (_, data) => hold(String(data)),
      pong: (_, data) => hold(`pong ${data}`),
    })
    const client = await raw(server)
    client.write(Buffer.concat([frame(1, 'a'), frame(10, 'b'), frame(1, 'c', { fin: false }), frame(0, 'd'), frame(2, 'e')]))
    for (const [i] of ['a', 'pong b', 'cd', 'e'].entries()) {
      while (begun.length <= i) await new Promise(setImmediate)
      for (let round = 0; round < 10; round++) await new Promise(setImmediate)
      expect(begun).to.have.length(i + 1)
      ends[i]!()
    }
    expect(begun).to.deep.equal(['a', 'pong b', 'cd', 'e'])
  })

  it('has at most 32 pending message hooks by default', async () => {
    const ends: (() => void)[] = []
    const server = await start({ message: () => new Promise<void>((resolve) => ends.push(resolve)) })
    const client = await raw(server)
    client.write(Buffer.concat(Array.from({ length: 5_000 }, () => frame(1, 'x'))))
    while (ends.length < 32) await new Promise(setImmediate)
    for (let round = 0; round < 20; round++) await new Promise(setImmediate)
    expect(ends).to.have.length(32)
  })

  it('reads the answer to its Close frame while hooks are pending', async () => {
    const end = gate()
    const closed = gate<number>()
    const server = await start({
      maxPendingMessages: 1,
      async message(ws, data) {
        if (data === 'at once') ws.close(4000)
        await Promise.resolve()
        if (data === 'later') ws.close(4000)
        await end.promise
      },
      close: (_, code) => closed.open(code),
    })
    const client = await open(server)
    client.send('later')
    expect((await once(client, 'close'))[0]).to.equal(4000)
    expect(await closed.promise).to.equal(4000)
    const other = await open(server)
    other.send('at once')
    expect((await once(other, 'close'))[0]).to.equal(4000)
    end.open()
  })

  // ---------------------------------------------------------------- upgrade

  it('asks its upgrade hook, which sees path, origin and fields, and gives data, a subprotocol and fields', async () => {
    const server = await start<{ user: string }>({
      upgrade(req) {
        if (req.header('origin') !== 'https://good.example') return false
        if (req.path === '/later') return Promise.resolve({ data: { user: 'later' } })
        if (req.path === '/gone') return { status: 410, headers: { 'X-Why': 'moved' }, body: 'gone' }
        return { data: { user: req.query.get('user')! }, protocol: 'b', headers: { 'Set-Cookie': 'a=b' } }
      },
      open: (ws) => ws.send(`${ws.data.user} ${ws.protocol} ${ws.remoteAddress}`),
      message() {},
    })
    const origin = { origin: 'https://good.example' }
    const client = new WebSocket(`${server.url.replace('http', 'ws')}/?user=ann`, ['a', 'b'], origin)
    clients.push(client)
    const upgraded = once(client, 'upgrade')
    expect(String((await once(client, 'message'))[0])).to.equal('ann b 127.0.0.1')
    const [response] = (await upgraded) as [{ headers: Record<string, unknown> }]
    expect(response.headers['set-cookie']).to.deep.equal(['a=b'])
    expect(client.protocol).to.equal('b')
    const later = new WebSocket(`${server.url.replace('http', 'ws')}/later`, origin)
    clients.push(later)
    expect(String((await once(later, 'message'))[0])).to.equal('later  127.0.0.1')
    const answer = await server.exchange(
      handshake({ Origin: 'https://evil.example' }),
      handshake({ Origin: 'https://good.example' }, 'GET /gone HTTP/1.1'),
      handshake({ Origin: 'https://evil.example', Connection: 'Upgrade, close' }),
    )
    expect(statuses(answer)).to.deep.equal([403, 410, 403])
    expect(answer).to.match(/X-Why: moved\r\n.*gone/s)
  })

  it('takes the first subprotocol of the peer that it speaks, and none otherwise', async () => {
    const server = await start({ protocols: ['x', 'y'], open: (ws) => ws.send(ws.protocol), message() {} })
    for (const [offered, chosen] of [
      ['z, y, x', 'y'],
      ['z', undefined],
      [undefined, undefined],
    ]) {
      const answer = await server.exchange(handshake({ 'Sec-WebSocket-Protocol': offered }), closeFrame(1000))
      expect(/Sec-WebSocket-Protocol: (.*)\r/.exec(answer)?.[1]).to.equal(chosen)
    }
  })

  it('reads nothing behind a handshake until it is decided, be it frames or requests, and answers what came before it first', async () => {
    const decide = gate()
    const earlier = gate()
    const asked = gate()
    let count = 0
    const server = await start(
      {
        upgrade(req) {
          if (++count === 2) asked.open()
          return decide.promise.then(() => req.path !== '/no')
        },
        open: (ws) => ws.send('open'),
        message: (ws, data) => ws.send(data),
      },
      { request: (req, res) => (req.path === '/' ? earlier.promise.then(() => res.end('earlier')) : res.end('next')) },
    )
    const stream = Buffer.concat([
      Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\n\r\n${handshake()}`),
      frame(1, 'one'),
      frame(1, 'two'),
      closeFrame(1000),
    ])
    const accepted = server.exchange(stream)
    const next = 'GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    const refused = server.exchange(handshake({}, 'GET /no HTTP/1.1') + next)
    await asked.promise
    decide.open()
    expect(statuses(await refused)).to.deep.equal([403, 200])
    earlier.open()
    const text = await accepted
    expect(statuses(text)).to.deep.equal([200, 101])
    const frames = Buffer.from(text.slice(text.lastIndexOf('\r\n\r\n') + 4), 'latin1')
    expect(wordsOf(frames)).to.deep.equal(['text open', 'text one', 'text two', 'close 1000'])
  })

  it('answers 500 when its upgrade hook fails or says what no handshake can carry', async () => {
    const server = await start({
      upgrade(req): never {
        if (req.path === '/throw') throw new Error('no')
        if (req.path === '/reject') return Promise.reject(new Error('never')) as never
        if (req.path === '/protocol') return { protocol: 'unasked' } as never
        if (req.path === '/field') return { headers: { Upgrade: 'x' } } as never
        if (req.path === '/status') return { status: 200 } as never
        return 'yes' as never
      },
      message() {},
    })
    for (const path of ['/throw', '/reject', '/protocol', '/field', '/status', '/']) {
      const answer = await server.exchange(handshake({ Connection: 'Upgrade, close' }, `GET ${path} HTTP/1.1`))
      expect(statuses(answer)).to.deep.equal([500])
    }
    expect(server.errors.map((error) => (error as MultireactorError).code ?? (error as Error).message)).to.deep.equal([
      'no',
      'never',
      ...Array(4).fill('ERR_MR_WEBSOCKET'),
    ])
  })

  it('answers 426 to other requests when it has no other handler', async () => {
    const server = await start({ message() {} })
    const answer = await server.exchange(
      'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    )
    expect(statuses(answer)).to.deep.equal([426, 426])
    expect(answer).to.include('Upgrade: websocket\r\n')
  })

  it('refuses options that do not fit', () => {
    const message = (): void => {}
    const attempts: [unknown, string][] = [
      [{ websocket: {} }, 'ERR_MR_OPTION_TYPE'],
      [{ websocket: { message, open: 1 } }, 'ERR_MR_OPTION_TYPE'],
      [{ websocket: { message, protocols: 'a' } }, 'ERR_MR_OPTION_TYPE'],
      [{ websocket: { message, maxMesageBytes: 1 } }, 'ERR_MR_UNKNOWN_OPTION'],
      [{ websocket: { message, maxMessageBytes: 0 } }, 'ERR_MR_OPTION_RANGE'],
      [{ websocket: { message, pongTimeoutMs: 0 } }, 'ERR_MR_OPTION_RANGE'],
      [{ websocket: { message }, request() {}, run: 'pool' }, 'ERR_MR_OPTION_TYPE'],
    ]
    for (const [options, code] of attempts) expect(codeOf(() => httpApp(options as HttpAppOptions))).to.equal(code)
  })

  // ---------------------------------------------------------------- sending

  it('sends text, bytes of any size and Pings, and refuses what is neither', async () => {
    const pongs: string[] = []
    const codes: unknown[] = []
    const server = await start({
      open(ws) {
        for (const data of ['', 'é', new Uint8Array([1, 2]), 'a'.repeat(20_000), new Uint8Array(70_000)]) ws.send(data)
        for (const bad of [1, null, {}]) codes.push(codeOf(() => ws.send(bad as never)))
        codes.push(
          codeOf(() => ws.ping('a'.repeat(126))),
          codeOf(() => ws.close(1005)),
          codeOf(() => ws.close(1000, 'é'.repeat(62))),
        )
        ws.ping('p')
      },
      message() {},
      pong: (ws, data) => {
        pongs.push(data.toString())
        ws.close(4000, 'done')
      },
    })
    const client = new WebSocket(`ws://127.0.0.1:${server.port}`)
    clients.push(client)
    const got: string[] = []
    client.on('message', (data: Buffer, isBinary) => got.push(isBinary ? `b${data.length}` : data.toString().slice(0, 3)))
    const [code, reason] = (await once(client, 'close')) as [number, Buffer]
    expect(got).to.deep.equal(['', 'é', 'b2', 'aaa', 'b70000'])
    expect([code, reason.toString()]).to.deep.equal([4000, 'done'])
    expect(pongs).to.deep.equal(['p'])
    expect(codes).to.deep.equal([
      ...Array(3).fill('ERR_MR_DATA'),
      'ERR_MR_OPTION_RANGE',
      'ERR_MR_OPTION_RANGE',
      'ERR_MR_OPTION_RANGE',
    ])
  })

  it('says false to a peer that does not read, and drains when it does', async () => {
    const full = gate()
    const drained = gate()
    let buffered = 0
    const server = await start(
      {
        message(ws) {
          while (ws.send(new Uint8Array(64 << 10))) {}
          buffered = ws.bufferedAmount
          full.open()
        },
        drain(ws) {
          ws.send('drained')
          drained.open()
        },
      },
      { outBuffer: { high: 256 << 10, low: 64 << 10 } },
    )
    const client = await open(server)
    client.pause()
    client.send('go')
    await full.promise
    expect(buffered).to.be.above(100 << 10)
    const last = new Promise<void>((resolve) => {
      client.on('message', (data: Buffer, isBinary) => !isBinary && data.toString() === 'drained' && resolve())
    })
    client.resume()
    await drained.promise
    await last
  })

  it('stops reading while it is paused', async () => {
    const got: string[] = []
    const first = gate<ServerWebSocket>()
    const all = gate()
    const server = await start({
      message(ws, data) {
        got.push(String(data))
        if (data === 'one') {
          ws.pause()
          first.open(ws)
        }
        if (data === 'three') all.open()
      },
    })
    const client = await raw(server)
    client.write(Buffer.concat([frame(1, 'one'), frame(1, 'two'), frame(1, 'three')]))
    const ws = await first.promise
    await new Promise((resolve) => setImmediate(resolve))
    expect(got).to.deep.equal(['one'])
    ws.resume()
    await all.promise
    expect(got).to.deep.equal(['one', 'two', 'three'])
  })

  it('publishes one message to all that have subscribed, itself included', async () => {
    const server = await start({
      open(ws) {
        ws.subscribe('room')
        ws.send(ws.subscriptions.join())
      },
      message: (ws, data) => void ws.publish('room', data),
    })
    const heard = [await listener(server), await listener(server)] as const
    heard[0].client.send('hi')
    for (const each of heard) await each.until('hi')
    expect(server.reactor.publish('room', webSocketMessage('from outside'))).to.equal(2)
    for (const each of heard) await each.until('from outside')
    for (const { got } of heard) expect(got).to.deep.equal(['room', 'hi', 'from outside'])
  })

  // ---------------------------------------------------------------- closing

  it('waits for the answer to its Close frame, and delivers and sends nothing meanwhile', async () => {
    const got: unknown[] = []
    const closed = gate()
    const server = await start({
      message(ws, data) {
        got.push(data)
        ws.subscribe('t')
        ws.close(3001, 'enough')
        got.push(
          ws.readyState,
          ws.subscriptions,
          codeOf(() => ws.send('x')),
          codeOf(() => ws.subscribe('u')),
        )
        ws.close(3002)
      },
      close(ws, code, reason) {
        got.push(
          code,
          reason,
          ws.readyState,
          codeOf(() => ws.send('x')),
        )
        closed.open()
      },
    })
    const client = await raw(server)
    client.write(Buffer.concat([frame(1, 'a'), frame(1, 'b'), frame(9, 'ping')]))
    await client.until((c) => c.received.includes('enough'))
    expect(server.reactor.publish('t', 'x')).to.equal(0)
    client.write(closeFrame(3001))
    await client.untilClosed()
    await closed.promise
    expect(framesOf(client)).to.deep.equal(['close 3001 enough'])
    const gone = 'ERR_MR_CONNECTION_CLOSED'
    expect(got).to.deep.equal(['a', 'closing', [], gone, gone, 3001, '', 'closed', undefined])
  })

  it('closes the connection of a peer that does not answer its Close frame', async () => {
    const closed = gate<unknown[]>()
    const server = await start({
      closeTimeoutMs: 20,
      open: (ws) => ws.close(),
      message() {},
      close: (_ws, code, reason) => closed.open([code, reason]),
    })
    const client = await raw(server)
    await client.untilClosed()
    expect(await closed.promise).to.deep.equal([1006, 'no answer to the Close frame'])
    expect(framesOf(client)).to.deep.equal(['close 1000'])
  })

  it('ends the connection of a peer that goes on sending behind its Close frame', async () => {
    const closed = gate<unknown[]>()
    const server = await start({
      open: (ws) => ws.close(),
      message() {},
      close: (_ws, code, reason) => closed.open([code, reason]),
    })
    const client = await raw(server)
    await client.until((c) => c.received.includes('\x88\x02\x03\xe8', 0, 'latin1'))
    expect(await flood(client, frame(2, Buffer.alloc(256 << 10)), server.reactor, 64 << 20)).to.be.within(15 << 20, 33 << 20)
    await client.untilClosed()
    expect(await closed.promise).to.deep.equal([1006, 'no answer to the Close frame'])
    expect(framesOf(client)).to.deep.equal(['close 1000'])
  })

  it('pings a silent peer, keeps one that answers, and closes one that does not', async () => {
    const closed = gate<unknown[]>()
    const pongs = gate()
    let count = 0
    const server = await start({
      pingIntervalMs: 15,
      pongTimeoutMs: 1_000,
      message() {},
      pong() {
        if (++count === 3) pongs.open()
      },
      close: (_ws, code, reason) => closed.open([code, reason]),
    })
    const alive = await open(server)
    await pongs.promise
    const deaf = await raw(server)
    await deaf.untilClosed()
    expect(await closed.promise).to.deep.equal([1006, 'no answer to a ping'])
    expect(framesOf(deaf)).to.deep.equal(['ping'])
    expect(alive.readyState).to.equal(WebSocket.OPEN)
  })

  it('outlives the idle limit of HTTP', async () => {
    const server = await start(
      { pingIntervalMs: 0, message: (ws, data) => void ws.send(data) },
      { keepAliveTimeoutMs: 300, headersTimeoutMs: 300 },
    )
    const client = await open(server)
    const idle = await Client.connect(server.port)
    idle.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await idle.untilClosed()
    client.send('still here')
    expect(String((await once(client, 'message'))[0])).to.equal('still here')
  })

  it('closes with 1008 a peer that does not come to the end of a frame', async () => {
    const server = await start({ frameTimeoutMs: 30, message() {} })
    const client = await raw(server)
    client.write(frame(1, 'never whole').subarray(0, 9))
    await client.untilClosed()
    expect(framesOf(client)).to.deep.equal(['close 1008 frame-timeout'])
  })

  it('says 1006 of a connection that ends without a Close frame, or is terminated', async () => {
    const codes: number[] = []
    let closed = gate()
    const server = await start({
      message: (ws) => ws.terminate(),
      close(_ws, code) {
        codes.push(code)
        closed.open()
      },
    })
    const ends = await raw(server)
    ends.socket.end()
    await closed.promise
    closed = gate()
    const told = await raw(server)
    told.write(frame(1, 'x'))
    await closed.promise
    expect(codes).to.deep.equal([1006, 1006])
  })

  it('closes with 1011 when a hook throws or rejects, and reports it', async () => {
    const server = await start({
      message(_ws, data) {
        if (data === 'throw') throw new Error('thrown')
        return Promise.reject(new Error('rejected'))
      },
    })
    for (const word of ['throw', 'reject']) {
      expect(await converse(server.port, [handshake(), frame(1, word)])).to.deep.equal(['close 1011'])
    }
    expect(server.errors.map((error) => (error as Error).message)).to.deep.equal(['thrown', 'rejected'])
  })

  it('says 1001 to everybody when the reactor closes', async () => {
    const server = await start({ message() {} })
    const client = await open(server)
    const closed = once(client, 'close')
    servers.splice(servers.indexOf(server), 1)
    await server.close()
    expect((await closed)[0]).to.equal(1001)
  })

  it('holds a message of very many fragments in one piece of memory', async () => {
    const lengths: number[] = []
    const server = await start({
      message(ws, data) {
        lengths.push(data.length)
        ws.close()
      },
    })
    const fragments = [
      frame(1, 'a', { fin: false }),
      ...Array.from({ length: 20_000 }, () => frame(0, 'b', { fin: false })),
      frame(0, 'c'),
    ]
    await converse(server.port, [handshake(), Buffer.concat([...fragments, closeFrame(1000)])])
    expect(lengths).to.deep.equal([20_002])
  })
})
