import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type Server, serve } from '@multireactor/core'
import { webSocketMessage } from '@multireactor/http'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { behindHandshake, deflatedFrames, frame, handshake, wordsOf } from '../support/websocket.js'

const offer = 'permessage-deflate'

class Peer {
  readonly got: string[] = []
  readonly socket: WebSocket
  readonly closed: Promise<unknown[]>
  #wake = (): void => {}

  constructor(url: string) {
    const options = { perMessageDeflate: { threshold: 0 }, maxPayload: 64 << 20, rejectUnauthorized: false }
    this.socket = new WebSocket(url, options)
    this.socket.on('message', (data: Buffer) => {
      this.got.push(data.length > 1_000 ? `${data.length} bytes` : data.toString())
      this.#wake()
    })
    this.socket.on('error', () => {})
    this.closed = once(this.socket, 'close')
    void this.closed.then(() => this.#wake())
  }

  /** Says something and resolves to the next `count` messages. */
  async ask(word: string, count = 1): Promise<string[]> {
    const before = this.got.length
    this.socket.send(word)
    await this.until(() => this.got.length >= before + count)
    return this.got.slice(before)
  }
  async until(done: () => boolean): Promise<void> {
    while (!done()) {
      if (this.socket.readyState === WebSocket.CLOSED) throw new Error(`closed after ${this.got}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

describe('permessage-deflate on a server', function () {
  // Threads start slowly where others need the cores.
  this.timeout(120_000)
  const silent = { debug() {}, info() {}, warn() {}, error() {} }
  let before: ReturnType<typeof census>
  let server: Server
  const peers: Peer[] = []
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    for (const { socket } of peers.splice(0)) socket.terminate()
    await server.close({ timeoutMs: 1_000 }).catch(() => {})
    expectNothingLeft(before)
  })

  async function start(options: Partial<Parameters<typeof serve>[0]> = {}): Promise<number> {
    server = await serve({ app: app('websocket-deflate'), listen: 0, reactors: 2, pool: 0, logger: silent, ...options })
    return server.listeners[0]!.port
  }
  async function connect(port: number): Promise<Peer> {
    const peer = new Peer(`ws://127.0.0.1:${port}/`)
    peers.push(peer)
    await once(peer.socket, 'open')
    return peer
  }
  /** One on each reactor. */
  async function onBoth(port: number): Promise<[Peer, Peer]> {
    const found = new Map<string, Peer>()
    while (found.size < 2) {
      const peer = await connect(port)
      const [where] = await peer.ask('where')
      if (found.has(where!)) peer.socket.terminate()
      else found.set(where!, peer)
    }
    return [found.get('reactor 0')!, found.get('reactor 1')!]
  }

  it('reaches the subscribers of all reactors with one compressed publication, from a WebSocket and from the server', async () => {
    const port = await start()
    const [a, b] = await onBoth(port)
    a.socket.send('publish 300000')
    for (const peer of [a, b]) await peer.until(() => peer.got.includes('behind 300000'))
    expect(b.got.slice(-2)).to.deep.equal(['300000 bytes', 'behind 300000'])
    const raw = await Client.connect(port)
    raw.write(handshake({ 'Sec-WebSocket-Extensions': offer }))
    await raw.until(({ received }) => received.includes('\r\n\r\n'))
    expect(await server.publish('room', webSocketMessage('x'.repeat(5_000), { deflate: true }))).to.be.above(2)
    expect(await server.publish('room', webSocketMessage('end'))).to.be.above(2)
    await raw.until(({ received }) => received.includes('end'))
    raw.destroy()
    expect(wordsOf(behindHandshake(raw.received.toString('latin1')), 15)).to.deep.equal(['text* 5000 bytes', 'text end'])
    for (const peer of [a, b]) await peer.until(() => peer.got.at(-1) === 'end')
    expect(a.got.slice(-2)).to.deep.equal(['5000 bytes', 'end'])
  })

  it('goes on through a reload: what is being compressed leaves, half a compressed message is completed, and both sides still compress', async () => {
    const port = await start()
    const [a] = await onBoth(port)
    const raw = await Client.connect(port)
    raw.write(handshake({ 'Sec-WebSocket-Extensions': offer }))
    await raw.until(({ received }) => received.includes('\r\n\r\n'))
    const message = deflatedFrames(1, 'large 20', 2)
    const half = message.length >> 1
    // The Pong proves that the bytes before it have been read.
    raw.write(Buffer.concat([message.subarray(0, half), Buffer.alloc(0)]))
    a.socket.send('large 8000000')
    a.socket.send('publish 8000000')
    await server.reload()
    raw.write(Buffer.concat([message.subarray(half), frame(9, 'read')]))
    await raw.until(({ received }) => received.includes('read'))
    const count = (word: string): number => a.got.filter((each) => each === word).length
    await a.until(() => count('behind 8000000') === 2 && count('8000000 bytes') === 2)
    expect(await a.ask('large 40000', 2)).to.deep.equal(['40000 bytes', 'behind 40000'])
    expect(await a.ask('y'.repeat(100_000))).to.deep.equal(['100000 yyyyy'])
    raw.destroy()
  })

  it('sends a large message of a suspend hook before the next thread goes on', async () => {
    const peer = await connect(await start({ reactors: 1 }))
    await peer.ask('speak')
    await server.reload()
    await peer.until(() => peer.got.length === 2)
    expect(peer.got).to.deep.equal(['spoken', '50000 bytes'])
    expect(await peer.ask('where')).to.deep.equal(['reactor 0'])
  })

  it('keeps half a compressed message, in fragments, through a reload', async () => {
    const port = await start({ reactors: 1 })
    const raw = await Client.connect(port)
    raw.write(handshake({ 'Sec-WebSocket-Extensions': offer }))
    await raw.until(({ received }) => received.includes('\r\n\r\n'))
    const whole = deflatedFrames(1, 'where '.repeat(100), 3)
    const first = frame(1, '', { first: 0x41 })
    const rest = Buffer.from(whole)
    rest[0] = rest[0]! & ~0x41
    raw.write(Buffer.concat([first, rest.subarray(0, 20), Buffer.alloc(0)]))
    await server.reload()
    raw.write(Buffer.concat([rest.subarray(20), frame(9, 'read')]))
    await raw.until(({ received }) => received.includes('read'))
    expect(wordsOf(behindHandshake(raw.received.toString('latin1')), 15)).to.deep.equal(['text reactor 0', 'pong read'])
    raw.destroy()
  })

  it('still inflates, and still compresses, when the thread has died or there are fewer reactors', async () => {
    const port = await start()
    const [a, b] = await onBoth(port)
    const replaced = once(server as never, 'reactorReplaced')
    b.socket.send('die')
    await replaced
    expect((await b.closed)[0]).to.equal(1006)
    expect(await a.ask('z'.repeat(50_000))).to.deep.equal(['50000 zzzzz'])
    const [, c] = await onBoth(port)
    await server.resize({ reactors: 1 })
    expect(await c.ask('where')).to.deep.equal(['reactor 0'])
    expect(await c.ask('v'.repeat(50_000))).to.deep.equal(['50000 vvvvv'])
    expect(await c.ask('large 50000', 2)).to.deep.equal(['50000 bytes', 'behind 50000'])
  })

  it('survives the death of its thread, which knew what was agreed on', async () => {
    const port = await start({ reactors: 1 })
    const stays = await Client.connect(port)
    stays.write(handshake({ 'Sec-WebSocket-Extensions': offer }))
    await stays.until(({ received }) => received.includes('\r\n\r\n'))
    const killer = await connect(port)
    const replaced = once(server as never, 'reactorReplaced')
    killer.socket.send('die')
    await replaced
    stays.write(deflatedFrames(1, 'large 3000'))
    await stays.until(({ received }) => received.includes('behind 3000'))
    expect(wordsOf(behindHandshake(stays.received.toString('latin1')), 15)).to.deep.equal([
      'text* 3000 bytes',
      'text behind 3000',
    ])
    stays.destroy()
  })

  it('closes with 1001 behind what is being compressed', async () => {
    const peer = await connect(await start({ reactors: 1 }))
    peer.socket.send('large 8000000')
    peer.socket.send('where')
    await peer.ask('publish 20')
    await server.close()
    expect((await peer.closed)[0]).to.equal(1001)
    expect(peer.got.filter((each) => each !== 'behind 20' && !each.startsWith('{'))).to.deep.equal([
      '8000000 bytes',
      'behind 8000000',
      'reactor 0',
    ])
  })

  it('works the same behind TLS', async () => {
    const pem = (name: string) => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))
    server = await serve({
      app: app('websocket-deflate'),
      listen: { port: 0, tls: { cert: pem('first'), key: pem('first-key') } },
      reactors: 1,
      pool: 0,
      logger: silent,
    })
    const url = `wss://127.0.0.1:${server.listeners[0]!.port}/`
    const peer = new Peer(url)
    peers.push(peer)
    await once(peer.socket, 'open')
    expect(await peer.ask('large 3000000', 2)).to.deep.equal(['3000000 bytes', 'behind 3000000'])
    expect(await peer.ask('publish 100000', 2)).to.deep.equal(['100000 bytes', 'behind 100000'])
    expect(await peer.ask('w'.repeat(2_000_000))).to.deep.equal(['2000000 wwwww'])
  })

  it('closes a connection whose thread dies while a message of it is compressed or inflated, rather than lose the message', async () => {
    const port = await start({ reactors: 1 })
    const compressed = await connect(port)
    const idle = await connect(port)
    const killer = await connect(port)
    const inflated = await Client.connect(port)
    inflated.write(handshake({ 'Sec-WebSocket-Extensions': offer }))
    await inflated.until(({ received }) => received.includes('\r\n\r\n'))
    const replaced = once(server as never, 'reactorReplaced')
    const framesRead = (): number => server.stats().reactors[0]!.framesRead
    const before = framesRead()
    inflated.write(deflatedFrames(1, Buffer.alloc(60 << 20, 'i')))
    compressed.socket.send('large 60000000')
    while (framesRead() < before + 2) await new Promise(setImmediate)
    killer.socket.send('die')
    await replaced
    expect((await compressed.closed)[0]).to.equal(1006)
    await inflated.untilClosed()
    expect(await idle.ask('where')).to.deep.equal(['reactor 0'])
    expect(compressed.got).to.deep.equal([])
  })

  it('counts what waits to be compressed in limits.memory', async () => {
    const peer = await connect(await start({ reactors: 1 }))
    const [words] = (await peer.ask('received 1000000', 6)).filter((each) => each.startsWith('received'))
    const [sent, published] = words!.split(' ').slice(1).map(Number)
    expect(sent).to.be.at.least(4_000_000)
    expect(published).to.be.at.least(1_000_000)
  })
})
