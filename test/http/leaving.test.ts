import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import { httpApp, type HttpRequest, type HttpResponse } from '@multireactor/http'
import { type CloseReason, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { type Server, serve } from 'multireactor'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { closedAs } from '../support/closed.js'

const pem = (name: string): Buffer => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))
const noLog = { debug() {}, info() {}, warn() {}, error() {} }
const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
const where = { port: 0, host: '127.0.0.1' }

interface Seen {
  source: HttpRequest
  signal: AbortSignal
  answer(text: string): void
  streams?: boolean
}

/** Requests wait here for the test to answer them. */
class Held {
  readonly reactor = new Reactor({ onError: (error) => this.errors.push(error) })
  readonly errors: unknown[] = []
  readonly cancelled: unknown[] = []
  #seen: Seen[] = []
  #wake: ((seen: Seen) => void) | undefined

  async listen(way: 'request' | 'fetch', secure: boolean, halfClose?: 'answer' | 'abort'): Promise<number> {
    const options = { ...where, ...(secure && { tls: { cert: pem('first'), key: pem('first-key') } }) }
    const handlers = httpApp({
      ...(halfClose && { halfClose }),
      ...(way === 'request'
        ? {
            request: (source: HttpRequest, res: HttpResponse) =>
              this.#held({ source, signal: source.signal, answer: (text) => res.end(text) }),
          }
        : {
            fetch: (request: Request, { source }: { source: HttpRequest }) =>
              new Promise<Response>((resolve) => {
                const answer = (text: string) => resolve(new Response(this.#streamOf(text)))
                this.#held({ source, signal: request.signal, answer })
              }),
          }),
    } as Parameters<typeof httpApp>[0])
    return (await this.reactor.listen(options, handlers)).port
  }

  #streamOf(text: string): ReadableStream<Uint8Array> {
    const parts = [...text]
    return new ReadableStream({
      pull: async (controller) => {
        await new Promise((resolve) => setImmediate(resolve))
        const part = parts.shift()
        if (part === undefined) controller.close()
        else controller.enqueue(Buffer.from(part))
      },
      cancel: (reason) => void this.cancelled.push(reason),
    })
  }

  #held(seen: Seen): void {
    const wake = this.#wake
    this.#wake = undefined
    if (wake) wake(seen)
    else this.#seen.push(seen)
  }

  next(): Promise<Seen> {
    const seen = this.#seen.shift()
    if (seen) return Promise.resolve(seen)
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

async function connect(port: number, secure: boolean): Promise<Client> {
  if (!secure) return Client.connect(port, { allowHalfOpen: true })
  const below = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const options = { socket: below, ca: pem('ca'), servername: 'first.example', allowHalfOpen: true }
  const socket = tls.connect(options as tls.ConnectionOptions)
  await new Promise((resolve) => socket.once('secureConnect', resolve))
  return new Client(socket)
}

const aborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason)
    signal.addEventListener('abort', () => resolve(signal.reason))
  })
const textOf = ({ received }: Client) => received.toString()

describe('a peer that leaves an HTTP request', () => {
  const started: Held[] = []
  const clients: Client[] = []
  const held = (): Held => {
    const made = new Held()
    started.push(made)
    return made
  }
  const to = async (port: number, secure: boolean): Promise<Client> => {
    const client = await connect(port, secure)
    clients.push(client)
    return client
  }
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy()
    for (const { reactor } of started.splice(0)) await reactor.close({ timeoutMs: 0 })
  })

  for (const way of ['request', 'fetch'] as const) {
    for (const secure of [false, true]) {
      const over = secure ? 'TLS' : 'TCP'

      it(`with a FIN over ${over} gets the response of ${way}, whose handler knows of the FIN`, async () => {
        const server = held()
        const client = await to(await server.listen(way, secure), secure)
        client.write(get)
        const { source, signal, answer } = await server.next()
        expect(source.halfClosed).to.equal(false)
        const told = source.whenHalfClosed()
        client.socket.end()
        expect(await told).to.equal(true)
        expect([source.halfClosed, signal.aborted]).to.deep.equal([true, false])
        expect(await source.whenHalfClosed()).to.equal(true)
        answer('hello')
        await client.untilClosed()
        expect(textOf(client)).to.match(/^HTTP\/1.1 200 OK\r\n/)
        expect(textOf(client).replace(/[^helo]/g, '')).to.match(/hello$/)
        expect([server.errors, server.cancelled, signal.aborted]).to.deep.equal([[], [], false])
      })

      it(`with a FIN over ${over} aborts the signal of ${way} where halfClose says so, and what is sent still leaves`, async () => {
        const server = held()
        const client = await to(await server.listen(way, secure, 'abort'), secure)
        client.write(get + get)
        const first = await server.next()
        const second = await server.next()
        client.socket.end()
        expect(await aborted(first.signal)).to.have.property('code', 'ERR_MR_CONNECTION_CLOSED')
        // One that was not asked for before.
        expect(second.source.signal.aborted).to.equal(true)
        first.answer('hello')
        second.answer('hollo')
        await client.untilClosed()
        expect(textOf(client).replace(/[^helo]/g, '')).to.match(/hello.*hollo$/)
        expect([server.errors, server.cancelled]).to.deep.equal([[], []])
      })

      it(`with a reset over ${over} aborts the signal of ${way} behind a FIN, and before one`, async () => {
        for (const ends of [false, true]) {
          const server = held()
          const client = await to(await server.listen(way, secure), secure)
          client.write(get)
          const { source, signal, answer } = await server.next()
          const told = source.whenHalfClosed()
          if (ends) {
            client.socket.end()
            await told
          }
          const below = secure ? (client.socket as unknown as { _parent?: net.Socket })._parent : client.socket
          ;(below ?? client.socket).resetAndDestroy()
          expect(await aborted(signal), `${ends}`).to.have.property('code', 'ERR_MR_CONNECTION_CLOSED')
          expect(await told).to.equal(ends)
          answer('hello')
          expect(server.errors).to.deep.equal([])
        }
      })
    }
  }

  it('in the middle of a body is answered with 400 at once, and whoever reads the body hears of it', async () => {
    let failed: unknown
    const reactor = new Reactor()
    const { port } = await reactor.listen(
      where,
      httpApp({
        async request(req) {
          failed = await req.bytes().catch((error: unknown) => error)
        },
      }),
    )
    for (const head of ['Content-Length: 100000', 'Transfer-Encoding: chunked']) {
      const client = await Client.connect(port, { allowHalfOpen: true })
      client.socket.end(`POST / HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n5\r\nab`)
      await client.untilClosed()
      expect(textOf(client)).to.match(/^HTTP\/1.1 400 /)
      expect(failed).to.have.property('code', 'ERR_MR_HTTP')
    }
    await reactor.close({ timeoutMs: 0 })
  })

  it('in the middle of a body gets the rest of a response that has begun', async () => {
    const reactor = new Reactor()
    const { port } = await reactor.listen(
      where,
      httpApp({
        async request(req, res) {
          res.write('begun, ')
          const failed = await req.bytes().catch((error: NodeJS.ErrnoException) => error.code)
          res.end(`then ${String(failed)}`)
        },
      }),
    )
    const client = await Client.connect(port, { allowHalfOpen: true })
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nab')
    await client.until(({ received }) => received.includes('begun'))
    client.socket.end()
    await client.untilClosed()
    expect(textOf(client)).to.match(/7\r\nbegun, \r\n10\r\nthen ERR_MR_HTTP\r\n0\r\n\r\n$/)
    await reactor.close({ timeoutMs: 0 })
  })

  it('settles whenHalfClosed() when its response ends first, and after the end', async () => {
    const server = held()
    const client = await to(await server.listen('request', false), false)
    client.write(get)
    const { source, answer } = await server.next()
    const told = source.whenHalfClosed()
    answer('hello')
    expect([await told, await source.whenHalfClosed()]).to.deep.equal([false, false])
  })

  it('leaves halfClose alone in the pool, and names no other value', () => {
    expect(() => httpApp({ run: 'pool', halfClose: 'abort', request: () => {} })).to.throw('leave out halfClose')
    expect(() => httpApp({ halfClose: 'close' as never, request: () => {} })).to.throw("'answer'")
  })

  describe('that the pool answers', () => {
    let server: Server
    before(async () => {
      server = await serve({ app: app('http-leaving'), listen: where, reactors: 1, pool: 1, logger: noLog })
    })
    after(() => server.close())

    for (const path of ['/silent', '/busy']) {
      it(`cancels the stream ${path} and aborts its signal`, async () => {
        const { port } = server.listeners[0]!
        const client = await Client.connect(port)
        client.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
        await client.until(({ received }) => received.includes('\r\n\r\n'))
        client.socket.resetAndDestroy()
        const answer = await fetch(`http://127.0.0.1:${port}/heard?count=2`, { headers: { connection: 'close' } })
        expect(await answer.json()).to.deep.equal(['cancel ERR_MR_CONNECTION_CLOSED', 'signal ERR_MR_CONNECTION_CLOSED'])
        const reasons: CloseReason[] = ['reset']
        for (const reason of reasons) expect(await closedAs(server, reason, 1)).to.be.at.least(1)
      })
    }
  })
})
