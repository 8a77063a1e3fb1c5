import { once } from 'node:events'
import { promisify } from 'node:util'
import { constants, inflateRaw } from 'node:zlib'
import { type HttpAppOptions, type ServerWebSocket, webSocketMessage } from '@multireactor/http'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { Client } from '../support/client.js'
import { HttpServer } from '../support/http.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { behindHandshake, closeFrame, deflated, deflatedFrames, frame, handshake, wordsOf } from '../support/websocket.js'

const text = 1
const binary = 2
const offer = 'permessage-deflate'
/** More than the reactor's thread compresses itself; each differs from the others. */
const large = (mark: string, bytes = 100_000): string => mark + `{"item":"${mark}","price":12},`.repeat(bytes).slice(0, bytes - 1)

describe('permessage-deflate on other threads', () => {
  let left: ReturnType<typeof census>
  const servers: HttpServer[] = []
  const clients: { terminate(): void }[] = []
  beforeEach(() => {
    left = census()
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client.terminate()
    for (const server of servers.splice(0)) {
      await server.close()
      expect(server.errors).to.deep.equal([])
    }
    await new Promise((resolve) => setImmediate(resolve))
    expectNothingLeft(left)
  })

  async function start(websocket: NonNullable<HttpAppOptions['websocket']>, rest: HttpAppOptions = {}): Promise<HttpServer> {
    const server = await HttpServer.start({ ...rest, websocket: { deflate: { thresholdBytes: 0 }, ...websocket } })
    servers.push(server)
    return server
  }
  /** A client that remembers its messages: the first letter and the length of each message. */
  async function open(server: HttpServer, options = {}) {
    const client = new WebSocket(`ws://127.0.0.1:${server.port}/`, { perMessageDeflate: { threshold: 0 }, ...options })
    clients.push(client)
    const got: string[] = []
    client.on('message', (data: Buffer) => got.push(`${data.toString('latin1', 0, 1)}${data.length}`))
    client.on('error', () => {})
    await once(client, 'open')
    const until = async (count: number): Promise<void> => {
      while (got.length < count) await once(client, 'message')
    }
    return { client, got, until }
  }
  async function raw(server: HttpServer, extensions: string | undefined): Promise<Client> {
    const client = await Client.connect(server.port)
    clients.push({ terminate: () => client.destroy() })
    client.write(handshake({ 'Sec-WebSocket-Extensions': extensions }))
    await client.until(({ received }) => received.includes('\r\n\r\n'))
    return client
  }
  const wordsFrom = (client: Client, windowBits = 15): string[] => {
    try {
      return wordsOf(behindHandshake(client.received.toString('latin1')), windowBits)
    } catch {
      return [] // the last frame is not whole
    }
  }

  it('sends messages in the order of the calls, compressed on another thread or not at all, in a hook and outside of it', async () => {
    let socket: ServerWebSocket | undefined
    const send = (ws: ServerWebSocket): void => {
      for (const data of ['1', large('2'), '3', Buffer.from(large('4', 40_000)), large('5'), '6', large('7', 20_000), '8'])
        ws.send(data)
    }
    const server = await start({
      message(ws) {
        socket = ws
        send(ws)
      },
    })
    const { client, got, until } = await open(server)
    const wanted = ['11', '2100000', '31', '440000', '5100000', '61', '720000', '81']
    client.send('go')
    // These frames wait in their hooks for nothing.
    client.send('go')
    await until(16)
    expect(got).to.deep.equal([...wanted, ...wanted])
    send(socket!)
    await new Promise(setImmediate)
    send(socket!)
    await until(32)
    expect(got.slice(16)).to.deep.equal([...wanted, ...wanted])
  })

  it('sends a publication behind what was sent before it, and in the order in which they were published', async () => {
    const server = await start({
      open: (ws) => ws.subscribe('all'),
      message(ws) {
        ws.send(large('a'))
        ws.publish('all', 'b')
        ws.publish('all', large('c'))
        ws.publish('all', 'd')
        ws.publish('all', large('e'))
      },
    })
    const [one, two] = [await open(server), await open(server, { perMessageDeflate: false })]
    one!.client.send('go')
    await Promise.all([one!.until(5), two!.until(4)])
    expect(one!.got).to.deep.equal(['a100000', 'b1', 'c100000', 'd1', 'e100000'])
    expect(two!.got).to.deep.equal(['b1', 'c100000', 'd1', 'e100000'])
    // By this thread, past the WebSocket: behind the messages that are being compressed for it.
    const got = one!.got.length
    one!.client.send('go')
    await one!.until(got + 1)
    expect(server.reactor.publish('all', webSocketMessage('x'))).to.equal(2)
    await one!.until(got + 6)
    expect(one!.got[got]).to.equal('a100000')
  })

  it('sends what is compressed behind the handshake, accepted at once or later', async () => {
    const server = await start({
      upgrade: (req) => (req.path === '/later' ? Promise.resolve(true) : true),
      open(ws) {
        ws.send(large('a'))
        ws.send('b')
        ws.close(4000)
      },
      message() {},
    })
    for (const path of ['/', '/later']) {
      const client = await Client.connect(server.port)
      clients.push({ terminate: () => client.destroy() })
      client.write(handshake({ 'Sec-WebSocket-Extensions': offer }, `GET ${path} HTTP/1.1`))
      client.write(closeFrame(4000))
      await client.untilClosed()
      expect(wordsFrom(client)).to.deep.equal(['text* 100000 bytes', 'text b', 'close 4000'])
    }
  })

  it('sends and publishes nothing more for a WebSocket that is terminated', async () => {
    const results: boolean[] = []
    const server = await start({
      open: (ws) => ws.subscribe('all'),
      message(ws) {
        ws.send(large('a'))
        ws.terminate()
        results.push(ws.send('b'), ws.send(large('c')), ws.publish('all', 'd'), ws.publish('all', large('e')), ws.ping())
      },
    })
    const [one, two] = [await open(server), await open(server)]
    const closed = once(one!.client, 'close')
    one!.client.send('go')
    await closed
    expect(results).to.deep.equal([false, false, false, false, false])
    server.reactor.publish('all', webSocketMessage('end'))
    await two!.until(1)
    expect(two!.got).to.deep.equal(['e3'])
    expect(one!.got).to.deep.equal([])
  })

  it('keeps what is published behind a message that is being compressed', async () => {
    const server = await start({
      open: (ws) => ws.subscribe('all'),
      message(ws) {
        ws.send(large('a', 1_000_000))
        server.reactor.publish('all', webSocketMessage('x'))
        setImmediate(() => server.reactor.publish('all', webSocketMessage('y')))
      },
    })
    const { client, got, until } = await open(server)
    client.send('go')
    await until(3)
    expect(got).to.deep.equal(['a1000000', 'x1', 'y1'])
  })

  it('answers Pings while a message is being compressed, and closes behind all messages, whoever closes', async () => {
    const closes: unknown[] = []
    const server = await start({
      message(ws, data) {
        ws.send(large('a', 1_000_000))
        ws.send('b')
        if (data === 'close') ws.close(4000, 'bye')
        if (data === 'fail') throw new Error('as it was told')
      },
      close: (_, code) => closes.push(code),
    })
    for (const [word, behind, code] of [
      ['close', frame(9, 'p'), 4000],
      ['fail', frame(9, 'p'), 1011],
      ['x', closeFrame(4001), 4001],
      ['x', frame(3), 1002],
    ] as const) {
      const client = await raw(server, offer)
      client.write(Buffer.concat([frame(text, word), behind, closeFrame(4001)]))
      await client.untilClosed()
      const words = wordsFrom(client).filter((each) => !each.startsWith('pong'))
      expect(words[0], word).to.equal('text* 1000000 bytes')
      expect(words[1]).to.equal('text b')
      expect(words[2]).to.match(new RegExp(`^close ${code}`))
      expect(words).to.have.length(3)
    }
    while (closes.length < 4) await new Promise(setImmediate)
    // The peer's own code, where it has answered.
    expect(closes).to.deep.equal([4001, 1011, 4001, 1002])
    expect(server.errors.splice(0).map(String)).to.deep.equal(['Error: as it was told'])
  })

  it('delivers messages in the order in which they came, inflated on another thread or not', async () => {
    const server = await start({ maxMessageBytes: 8 << 20, message: (ws, data) => ws.send(`${data.slice(0, 1)} ${data.length}`) })
    const client = await raw(server, offer)
    const zeros = Buffer.alloc(4 << 20, 'z')
    client.write(
      Buffer.concat([
        deflatedFrames(text, large('a', 2_000_000), 7),
        frame(text, 'b'),
        deflatedFrames(text, 'c'),
        deflatedFrames(binary, zeros),
        deflatedFrames(text, 'd'),
        frame(9, 'p'),
        closeFrame(1000),
      ]),
    )
    await client.untilClosed()
    const words = wordsFrom(client)
    expect(words).to.deep.equal(['text* a 2000000', 'text b 1', 'text c 1', 'text z 4194304', 'text d 1', 'pong p', 'close 1000'])
  })

  it('reads nothing while it inflates, whatever the app pauses and resumes meanwhile', async () => {
    const seen: string[] = []
    const server = await start({
      message(ws, data) {
        seen.push(String(data).slice(0, 5))
        if (data === 'pause') {
          ws.pause()
          ws.resume()
        }
      },
    })
    const client = await raw(server, offer)
    client.write(
      Buffer.concat([frame(text, 'pause'), deflatedFrames(text, large('a', 1_000_000)), frame(text, 'pause'), closeFrame(1000)]),
    )
    await client.untilClosed()
    expect(seen).to.deep.equal(['pause', 'a{"it', 'pause'])
  })

  it('closes with 1009 what inflates to more than maxMessageBytes, and never holds much more than that', async () => {
    const most = 1 << 20
    const server = await start({ maxMessageBytes: most, message: (ws, data) => ws.send(`${data.length}`) })
    const exact = await raw(server, offer)
    exact.write(Buffer.concat([deflatedFrames(text, Buffer.alloc(most, 'a')), closeFrame(1000)]))
    await exact.untilClosed()
    expect(wordsFrom(exact)).to.deep.equal([`text ${most}`, 'close 1000'])
    // 256 MiB each.
    const bomb = deflatedFrames(text, Buffer.alloc(256 << 20))
    const small = deflatedFrames(text, Buffer.alloc(most + 1, 'a'), 3)
    const before = process.memoryUsage().arrayBuffers
    const bombs = await Promise.all(Array.from({ length: 8 }, () => raw(server, offer)))
    for (const client of bombs) client.write(client === bombs[0] ? small : bomb)
    let peak = 0
    const all = Promise.all(bombs.map((client) => client.untilClosed()))
    let over = false
    void all.then(() => {
      over = true
    })
    while (!over) {
      peak = Math.max(peak, process.memoryUsage().arrayBuffers - before)
      await new Promise(setImmediate)
    }
    for (const client of bombs) expect(wordsFrom(client)).to.deep.equal(['close 1009 the message is too long'])
    expect(peak).to.be.below(64 << 20)
  })

  it('goes on when a peer leaves while a message of it is compressed or inflated', async () => {
    const closes: number[] = []
    const server = await start({
      maxMessageBytes: 8 << 20,
      open: (ws) => ws.subscribe('all'),
      message(ws, data) {
        ws.send(data)
        ws.publish('all', data)
      },
      close: (_, code) => closes.push(code),
    })
    const stays = await open(server)
    for (let i = 0; i < 5; i++) {
      const compressed = await raw(server, offer)
      compressed.write(frame(text, large('a', 1_000_000)))
      while (stays.got.length < i) await once(stays.client, 'message')
      // Behind the hook, and before zlib is done.
      while (closes.length < 2 * i) await new Promise(setImmediate)
      const inflating = await raw(server, offer)
      inflating.write(deflatedFrames(text, large('b', 4_000_000)))
      await new Promise(setImmediate)
      inflating.destroy()
      await stays.until(i + 1)
      compressed.destroy()
      while (closes.length < 2 * (i + 1)) await new Promise(setImmediate)
    }
    expect(new Set(closes)).to.deep.equal(new Set([1006]))
    // The publisher's waiting messages leave all the same.
    expect(stays.got.filter((each) => each === 'a1000000')).to.have.length(5)
  })

  it('delivers nothing of a peer that has gone while its message is inflated, and leaves a server that closes in peace', async () => {
    const most = 128 << 20
    const bomb = deflatedFrames(binary, Buffer.alloc(most))
    const delivered: number[] = []
    let gone = 0
    const server = await start({
      maxMessageBytes: most,
      message: (_, data) => delivered.push(data.length),
      close() {
        gone++
      },
    })
    /** Its message has come, and is being inflated. */
    const inflating = async (): Promise<Client> => {
      const before = server.reactor.stats().framesRead
      const client = await raw(server, offer)
      client.write(bomb)
      // The handshake is a frame, too.
      while (server.reactor.stats().framesRead < before + 2) await new Promise(setImmediate)
      return client
    }
    const client = await inflating()
    client.socket.resetAndDestroy()
    while (gone === 0) await new Promise(setImmediate)
    await inflating()
    await server.reactor.close({ timeoutMs: 1 })
    servers.pop()
    // As much work for zlib's threads as was left of both.
    const zeros = deflated(Buffer.alloc(most))
    for (let i = 0; i < 3; i++) await promisify(inflateRaw)(zeros, { finishFlush: constants.Z_SYNC_FLUSH, chunkSize: 1 << 20 })
    expect(delivered).to.deep.equal([])
    expect(server.errors).to.deep.equal([])
  })

  it('gives each subscriber the form of a publication that it can read', async () => {
    const server = await start({ open: (ws) => ws.subscribe('all'), message: (ws, data) => ws.publish('all', data) })
    const peers = [
      { bits: 15, extensions: offer },
      { bits: 12, extensions: `${offer}; server_max_window_bits=12` },
      { bits: 8, extensions: `${offer}; server_max_window_bits=8` },
      { bits: 0, extensions: undefined },
    ]
    const subscribers = []
    for (const peer of peers) subscribers.push({ ...peer, client: await raw(server, peer.extensions) })
    const publisher = subscribers[3]!.client
    for (const size of [200, 3_000, 5_000, 50_000]) publisher.write(frame(text, large('p', size)))
    for (const { client, bits } of subscribers) {
      await client.until(() => wordsFrom(client, bits).length === 4)
      const stars = wordsFrom(client, bits).map((word) => word.startsWith('text*'))
      const wanted = [200, 3_000, 5_000, 50_000].map((size) => bits === 15 || (bits !== 0 && size <= 2 ** bits))
      expect(stars, `${bits} bits`).to.deep.equal(wanted)
    }
    const before = subscribers.map(({ client }) => client.received.length)
    server.reactor.publish('all', webSocketMessage(large('q', 2_000), { deflate: true }))
    server.reactor.publish('all', webSocketMessage(large('q', 2_000)))
    for (const [i, { client, bits }] of subscribers.entries()) {
      await client.until(() => wordsFrom(client, bits).length === 6)
      const words = wordsFrom(client, bits).slice(4)
      expect(words).to.deep.equal([bits >= 11 ? 'text* 2000 bytes' : 'text 2000 bytes', 'text 2000 bytes'])
      expect(client.received.length - before[i]!).to.be.below(bits >= 11 ? 2_400 : 4_100)
    }
  })

  it('says false when much waits to be compressed, and drains when it has left', async () => {
    let drains = 0
    const results: boolean[] = []
    const server = await start(
      {
        message(ws) {
          for (let i = 0; i < 8; i++) results.push(ws.send(large('a', 50_000)))
          results.push(ws.bufferedAmount >= 8 * 50_000)
        },
        drain(ws) {
          drains++
          ws.send('drained')
        },
      },
      { outBuffer: { high: 120_000 } },
    )
    const { client, got, until } = await open(server)
    client.send('go')
    await until(9)
    expect(results).to.deep.equal([true, true, false, false, false, false, false, false, true])
    expect(got.at(-1)).to.equal('d7')
    expect(drains).to.equal(1)
  })

  it('keeps thousands of small messages behind a large one, and publications, in order and in little memory', async () => {
    const count = 50_000
    let grown = 0
    const server = await start(
      {
        open: (ws) => ws.subscribe('all'),
        message(ws) {
          const before = process.memoryUsage().arrayBuffers
          ws.send(large('a', 1_000_000))
          ws.publish('all', large('b', 1_000_000))
          for (let i = 0; i < count; i++) ws.send(`c${i}`)
          for (let i = 0; i < count; i++) ws.publish('all', `d${i}`)
          grown = process.memoryUsage().arrayBuffers - before
        },
      },
      { outBuffer: { max: 256 << 20 } },
    )
    const client = new WebSocket(`ws://127.0.0.1:${server.port}/`, { perMessageDeflate: true })
    clients.push(client)
    const next = { c: 0, d: 0 }
    let wrong = 0
    const all = new Promise<void>((resolve) => {
      client.on('message', (data: Buffer) => {
        const said = data.toString()
        const kind = said[0] as 'c' | 'd'
        if (data.length < 1_000 && said !== `${kind}${next[kind]++}`) wrong++
        if (next.c === count && next.d === count) resolve()
      })
    })
    await once(client, 'open')
    client.send('go')
    await all
    expect(wrong).to.equal(0)
    expect(grown).to.be.below(64 << 20)
  })

  it('closes as slow-consumer when an app goes on sending what is not compressed yet', async () => {
    const server = await start(
      {
        message(ws) {
          for (let i = 0; i < 100; i++) ws.send(large('a', 50_000))
        },
      },
      { outBuffer: { high: 100_000, max: 1_000_000 } },
    )
    const { client } = await open(server)
    const closed = once(client, 'close')
    client.send('go')
    expect((await closed)[0]).to.equal(1006)
    expect(server.reactor.stats().closed['slow-consumer']).to.equal(1)
  })

  it("drops messages for a slow peer with slow: 'drop', counts them, and drains", async () => {
    for (const perMessageDeflate of [false, true]) {
      let dropped = 0
      let sent = 0
      const server = await start(
        {
          slow: 'drop',
          message(ws) {
            for (let i = 0; i < 3_000; i++) {
              const fits = ws.bufferedAmount < 256 << 10
              if (fits) sent++
              else dropped++
              const room = ws.send(Buffer.alloc(8 << 10, i))
              if (!fits) expect(room).to.equal(false)
            }
          },
          drain: (ws) => ws.send('drained'),
        },
        { outBuffer: { high: 256 << 10, low: 64 << 10, max: 1 << 20 } },
      )
      const { client, got } = await open(server, { perMessageDeflate, skipUTF8Validation: true })
      const slow = perMessageDeflate
      client.pause()
      client.send('go')
      // With deflate they are so small that the peer's socket takes them all.
      while (sent + dropped < 3_000) await new Promise(setImmediate)
      if (!slow) expect(dropped).to.be.above(100)
      expect(server.reactor.stats().messagesDropped).to.equal(dropped)
      client.resume()
      while (got.length < sent + (dropped > 0 ? 1 : 0)) await once(client, 'message')
      if (dropped > 0) expect(got.at(-1)).to.equal('d7')
    }
  })
})
