import { LightResponse } from '@multireactor/http'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { HttpServer } from '../support/http.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const mebibyte = 1 << 20
const large = new Uint8Array(mebibyte).fill(120)
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
const post = (path: string, body: string): string =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`
/** As many responses as there are heads in the received bytes: no body holds one. */
const answers = ({ received }: Client): number => received.toString('latin1').split('HTTP/1.1 200 OK').length - 1

describe('bodies of fetch that nobody has read yet', () => {
  let server: HttpServer
  let before: ReturnType<typeof census>
  const clients: Client[] = []
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy()
    await server.close()
    // The descriptors of a reactor close behind its last turn.
    await new Promise((resolve) => setImmediate(resolve))
    expectNothingLeft(before)
  })
  async function connect(): Promise<Client> {
    const client = await Client.connect(server.port)
    clients.push(client)
    return client
  }
  /** The server has handled all earlier bytes when a later request has been answered. */
  async function passed(path: string): Promise<void> {
    const other = await connect()
    for (let i = 1; i <= 3; i++) {
      other.write(get(path))
      await other.until((client) => answers(client) === i)
    }
  }

  it('are few of one connection: of pipelined requests the next handler runs when a body before it has been read', async () => {
    let together = 0
    let most = 0
    server = await HttpServer.start({
      fetch: () => {
        // Bodies can be read when the batch is over, and microtasks run.
        if (together++ === 0) queueMicrotask(() => (together = 0))
        most = Math.max(most, together)
        return new Response(large)
      },
    })
    const client = await connect()
    const received = async (bytes: number): Promise<void> => {
      while (client.socket.bytesRead < bytes) {
        client.received = Buffer.alloc(0)
        await client.bytes(1)
      }
    }
    client.write(get('/').repeat(32))
    await received(32 * mebibyte)
    expect(most).to.be.within(1, 4)
    // Now it is known how large they are.
    most = 0
    client.write(get('/').repeat(32))
    await received(64 * mebibyte)
    expect(most).to.equal(1)
  })

  it('are few of handlers that wait, in order, each with its own body', async () => {
    let started = 0
    let open: (() => void) | undefined
    const gate = new Promise<void>((resolve) => (open = resolve))
    server = await HttpServer.start({
      async fetch(request) {
        const { pathname } = new URL(request.url)
        if (pathname === '/passes') return new Response('passed')
        started++
        await gate
        return new Response(`${pathname} ${await request.text()};`)
      },
    })
    await passed('/passes')
    const client = await connect()
    client.write(Array.from({ length: 64 }, (_, i) => post(`/${i}`, `body ${i}`)).join(''))
    await passed('/passes')
    expect(started).to.equal(4)
    open!()
    await client.until(() => answers(client) === 64)
    await client.until(() => client.received.includes('body 63;'))
    expect(
      [...client.received.toString().matchAll(/\/(\d+) body (\d+);/g)].map(([, path, body]) => `${path} ${body}`),
    ).to.deep.equal(Array.from({ length: 64 }, (_, i) => `${i} ${i}`))
  })

  it('are none in an app that answers with LightResponse: its handlers run side by side', async () => {
    let started = 0
    let open: (() => void) | undefined
    const gate = new Promise<void>((resolve) => (open = resolve))
    server = await HttpServer.start({
      async fetch(request) {
        if (request.url.endsWith('/passes')) return new LightResponse('passed')
        started++
        await gate
        return new LightResponse('ok')
      },
    })
    await passed('/passes')
    const client = await connect()
    client.write(get('/').repeat(64))
    await passed('/passes')
    expect(started).to.equal(64)
    open!()
    await client.until(() => answers(client) === 64)
  })

  it('keep no handler waiting for room whose peer has reset in the middle of its body', async () => {
    let full: (() => void) | undefined
    const filled = new Promise<void>((resolve) => (full = resolve))
    let ended: (() => void) | undefined
    const end = new Promise<void>((resolve) => (ended = resolve))
    server = await HttpServer.start({
      async request(req, res) {
        if (req.path === '/passes') return res.end('passed')
        while (!req.signal.aborted) {
          if (res.write(large)) continue
          full!()
          await res.drained()
        }
        ended!()
      },
    })
    const client = await connect()
    client.socket.pause()
    client.write(post('/', 'x'.repeat(500_000)).slice(0, -1))
    await filled
    await passed('/passes')
    client.socket.resetAndDestroy()
    await end
    expect(server.errors).to.deep.equal([])
  })

  it('keep no request running that its connection has left', async () => {
    let started = 0
    let aborted = 0
    server = await HttpServer.start({
      fetch(request) {
        if (request.url.endsWith('/passes')) return new Response('passed')
        started++
        return new Promise<Response>((_, reject) => {
          request.signal.addEventListener('abort', () => {
            aborted++
            reject(request.signal.reason as Error)
          })
        })
      },
    })
    const client = await connect()
    client.write(get('/').repeat(8))
    await passed('/passes')
    expect(started).to.equal(4)
    client.socket.resetAndDestroy()
    while (aborted < 4) await passed('/passes')
    expect(started).to.equal(4)
    expect(server.errors).to.deep.equal([])
  })
})
