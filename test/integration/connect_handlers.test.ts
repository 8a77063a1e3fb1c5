import { once } from 'node:events'
import net from 'node:net'
import { type ClientHandlers, type ConnectTarget, type MultireactorError, Reactor } from '@multireactor/reactor'
import { connectionOptionNames, hookNames } from '@multireactor/reactor/parts'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'

// A call with handlers like those of the call before skips most of the reading: nothing else may change.
describe('the handlers of a client connection', () => {
  const before = census()
  let reactor: Reactor
  let upstream: net.Server
  let target: ConnectTarget

  beforeEach(async () => {
    reactor = new Reactor({ onError() {} })
    upstream = net.createServer((socket) => void socket.on('error', () => {}).resume()).listen(0, '127.0.0.1')
    await once(upstream, 'listening')
    target = { port: (upstream.address() as net.AddressInfo).port, host: '127.0.0.1' }
  })
  afterEach(async () => {
    await reactor[Symbol.asyncDispose]()
    upstream.close()
    await once(upstream, 'close')
    await new Promise(setImmediate)
    expectNothingLeft(before)
  })

  async function codeOf(handlers: object): Promise<string> {
    try {
      const conn = await reactor.connect(target, handlers as ClientHandlers<undefined>)
      conn.destroy()
      return 'connected'
    } catch (error) {
      return (error as MultireactorError).code
    }
  }

  it('are read anew where an option differs', async () => {
    const good = { open() {}, idleTimeoutMs: 1_000 }
    for (const name of connectionOptionNames) {
      expect(await codeOf(good)).to.equal('connected')
      expect(await codeOf({ ...good, [name]: Symbol('wrong') }), name).to.match(/^ERR_MR_OPTION_/)
    }
    expect(await codeOf(good)).to.equal('connected')
    expect(await codeOf({ ...good, idleTimeoutMS: 1 })).to.equal('ERR_MR_UNKNOWN_OPTION')
    expect(await codeOf(Object.assign(good, { idleTimeoutMs: -1 }))).to.equal('ERR_MR_OPTION_RANGE')
    const outBuffer = { high: 10, low: 5 }
    expect(await codeOf({ outBuffer })).to.equal('connected')
    outBuffer.low = 11
    expect(await codeOf({ outBuffer })).to.equal('ERR_MR_OPTION_RANGE')
  })

  it('are read anew where they have other hooks', async () => {
    const good = { open() {} }
    for (const name of hookNames) {
      expect(await codeOf(good)).to.equal('connected')
      expect(await codeOf({ ...good, [name]: 1 }), name).to.equal('ERR_MR_OPTION_TYPE')
    }
    for (const wrong of [null, 1, 'x'])
      expect(await codeOf(wrong as unknown as object), String(wrong)).to.equal('ERR_MR_OPTION_TYPE')
    expect(await codeOf(good)).to.equal('connected')
    let closed!: (reason: string) => void
    const reason = new Promise<string>((resolve) => {
      closed = resolve
    })
    const conn = await reactor.connect(target, { ...good, close: (_, why) => closed(why) })
    conn.destroy()
    expect(await reason).to.equal('destroyed')
  })

  it('keep their this, and are those of each call', async () => {
    class Peer {
      readonly #seen: string[] = []
      #tellClosed!: () => void
      readonly #closed = new Promise<void>((resolve) => {
        this.#tellClosed = resolve
      })
      open(): number {
        return this.#seen.push('open')
      }
      message(_: unknown, frame: Buffer): void {
        this.#seen.push(String(frame))
      }
      close(_: unknown, reason: string): void {
        this.#seen.push(reason)
        this.#tellClosed()
      }
      async whole(): Promise<string[]> {
        await this.#closed
        return this.#seen
      }
    }
    upstream.on('connection', (socket: net.Socket) => void socket.end('hello'))
    for (let i = 0; i < 3; i++) {
      const peer = new Peer()
      const conn = await reactor.connect(target, peer)
      expect(conn.data).to.equal(1)
      expect(await peer.whole()).to.deep.equal(['open', 'hello', 'end'])
    }
  })
})
