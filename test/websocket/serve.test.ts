import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type Server, serve } from '@multireactor/core'
import { webSocketMessage } from '@multireactor/http'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { behindHandshake, frame, handshake, wordsOf } from '../support/websocket.js'

function pem(name: string): Buffer {
  return readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))
}

/** A client that remembers its messages. */
class Peer {
  readonly got: string[] = []
  readonly socket: WebSocket
  readonly closed: Promise<unknown[]>

  constructor(url: string, options = {}) {
    this.socket = new WebSocket(url, options)
    this.socket.on('message', (data: Buffer) => this.got.push(data.toString()))
    this.socket.on('error', () => {})
    this.closed = once(this.socket, 'close')
  }

  /** Says something and resolves to the next message. */
  async ask(word: string): Promise<string> {
    const count = this.got.length
    this.socket.send(word)
    while (this.got.length === count) await this.more()
    return this.got[count]!
  }
  async until(text: string): Promise<void> {
    while (!this.got.includes(text)) await this.more()
  }
  /** Rejects when nothing more can come. */
  async more(): Promise<void> {
    const closed = this.closed.then(([code]) => {
      throw new Error(`closed with ${code} after ${this.got}`)
    })
    await Promise.race([once(this.socket, 'message'), closed])
  }
}

describe('WebSockets of a server', function () {
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
    server = await serve({ app: app('websocket'), listen: 0, reactors: 2, pool: 1, logger: silent, ...options })
    return server.listeners[0]!.port
  }
  async function connect(port: number, path = '/'): Promise<Peer> {
    const peer = new Peer(`ws://127.0.0.1:${port}${path}`)
    peers.push(peer)
    await once(peer.socket, 'open')
    return peer
  }
  /** One on each reactor. */
  async function onBoth(port: number, path = '/'): Promise<[Peer, Peer]> {
    const found = new Map<string, Peer>()
    while (found.size < 2) {
      const peer = await connect(port, path)
      const where = await peer.ask('where')
      if (found.has(where)) peer.socket.terminate()
      else found.set(where, peer)
    }
    return [found.get('reactor 0')!, found.get('reactor 1')!]
  }

  it('hear what one of them publishes on another reactor, and what the server publishes', async () => {
    const [a, b] = await onBoth(await start())
    for (const peer of [a, b]) expect(await peer.ask('join')).to.equal('joined true')
    a.socket.send('from a')
    for (const peer of [a, b]) await peer.until('from a')
    expect(await server.publish('room', webSocketMessage('from the server'))).to.equal(2)
    for (const peer of [a, b]) await peer.until('from the server')
    expect(await a.ask('heavy')).to.equal('parsed a frame')
  })

  it('stay open through a reload, with their data, their subscriptions and half a message', async () => {
    const port = await start()
    const [a, b] = await onBoth(port)
    for (const peer of [a, b]) expect([await peer.ask('join'), await peer.ask('count')]).to.deep.equal(['joined true', 'count 1'])
    const raw = await Client.connect(port)
    raw.write(handshake())
    await raw.until(({ received }) => received.includes('\r\n\r\n'))
    // The Pong says that the first half has been read.
    raw.write(Buffer.concat([frame(1, 'cou', { fin: false }), frame(9, 'read')]))
    await raw.until(({ received }) => received.includes('read'))
    await server.reload()
    raw.write(Buffer.concat([frame(0, 'nt'), frame(1, 'bye')]))
    await raw.until(({ received }) => received.includes('bye'))
    expect(wordsOf(behindHandshake(raw.received.toString('latin1')))).to.deep.equal([
      'pong read',
      'text count 1',
      'close 4000 bye',
    ])
    raw.destroy()
    for (const peer of [a, b]) expect(await peer.ask('count')).to.equal('count 2')
    a.socket.send('still here')
    for (const peer of [a, b]) await peer.until('still here')
  })

  it('stay open when their thread dies, but for the one that killed it and those whose data is lost', async () => {
    const port = await start({ reactors: 1 })
    const bare = await connect(port, '/bare')
    expect(await bare.ask('join')).to.equal('joined true')
    const rich = await connect(port)
    await rich.ask('where')
    const killer = await connect(port, '/bare')
    const replaced = once(server as never, 'reactorReplaced')
    killer.socket.send('die')
    await replaced
    expect((await killer.closed)[0]).to.equal(1006)
    expect((await rich.closed)[0]).to.equal(1012)
    expect(await bare.ask('where')).to.equal('reactor 0')
    await server.publish('room', webSocketMessage('anew'))
    await bare.until('anew')
  })

  it('move to the reactors that are left when there are fewer', async () => {
    const [a, b] = await onBoth(await start())
    for (const peer of [a, b]) expect([await peer.ask('join'), await peer.ask('count')]).to.deep.equal(['joined true', 'count 1'])
    await server.resize({ reactors: 1 })
    expect([await b.ask('where'), await b.ask('count')]).to.deep.equal(['reactor 0', 'count 2'])
    b.socket.send('from b')
    for (const peer of [a, b]) await peer.until('from b')
  })

  it('hear 1001 when the server closes', async () => {
    const peers = await onBoth(await start())
    await server.close()
    for (const peer of peers) expect((await peer.closed)[0]).to.equal(1001)
  })

  it('speak TLS on a listener that does, and hear 1012 from a reload, since they cannot outlive it', async () => {
    await start({ listen: { port: 0, tls: { cert: pem('first'), key: pem('first-key') } } as never })
    const url = `wss://127.0.0.1:${server.listeners[0]!.port}/`
    const peer = new Peer(url, { ca: pem('ca'), servername: 'first.example', checkServerIdentity: () => undefined })
    peers.push(peer)
    await once(peer.socket, 'open')
    expect(await peer.ask('count')).to.equal('count 1')
    // Its keys live in the thread that leaves.
    await server.reload()
    expect((await peer.closed)[0]).to.equal(1012)
  })
})
