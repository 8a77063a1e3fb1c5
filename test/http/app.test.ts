import { expect } from 'chai'
import { LightResponse } from '@multireactor/http'
import { Client } from '../support/client.js'
import { flood } from '../support/flood.js'
import { HttpServer, statuses } from '../support/http.js'

const close = 'Connection: close\r\n'

describe('an HTTP app', () => {
  const started: HttpServer[] = []
  const start = async (options: Parameters<typeof HttpServer.start>[0]): Promise<HttpServer> => {
    const server = await HttpServer.start(options)
    started.push(server)
    return server
  }
  afterEach(async () => {
    for (const server of started.splice(0)) await server.close()
  })

  it('gives a request its method, target, fields and peer, parsed when they are asked for', async () => {
    const seen: unknown[] = []
    const server = await start({
      request(req, res) {
        seen.push(req.method, req.url, req.path, req.query.get('q'), req.httpVersion, req.header('X-One'), req.headers['x-two'])
        seen.push(req.headers['cookie'], req.remoteAddress)
        res.end()
      },
    })
    await server.exchange(
      `PATCH /a/b?q=1&r HTTP/1.1\r\nHost: a\r\nX-One:  1 \r\nX-Two: a\r\nx-two: b\r\nCookie: c\r\nCookie: d\r\n${close}\r\n`,
    )
    expect(seen).to.deep.equal(['PATCH', '/a/b?q=1&r', '/a/b', '1', '1.1', '1', 'a, b', 'c; d', '127.0.0.1'])
  })

  it('answers 500 when its handler throws or rejects, reports the error and goes on', async () => {
    const server = await start({
      request(req) {
        if (req.path === '/now') throw new Error('now')
        return Promise.reject(new Error('later'))
      },
    })
    const text = await server.exchange(`GET /now HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n${close}\r\n`)
    expect(statuses(text)).to.deep.equal([500, 500])
    expect(server.errors.map((error) => (error as Error).message)).to.deep.equal(['now', 'later'])
  })

  it('lets its error hook answer', async () => {
    const server = await start({
      request() {
        throw new Error('teapot')
      },
      error: (error, _req, res) => res.status(418).end((error as Error).message),
    })
    expect(await server.exchange(`GET / HTTP/1.1\r\nHost: a\r\n${close}\r\n`)).to.match(/^HTTP\/1.1 418 .*teapot$/s)
  })

  it('refuses fields that would end a field, and lengths that are not kept', async () => {
    const codes: unknown[] = []
    const attempt = (action: () => unknown): void => {
      try {
        action()
      } catch (error) {
        codes.push((error as { code: string }).code)
      }
    }
    const server = await start({
      request(_req, res) {
        attempt(() => res.setHeader('A', 'b\r\nSet-Cookie: c'))
        attempt(() => res.setHeader('A:', 'b'))
        attempt(() => res.setHeader('Transfer-Encoding', 'chunked'))
        attempt(() => res.setHeader('Content-Length', '1, 2'))
        attempt(() => res.end(5 as never))
        res.setHeader('Content-Length', 3)
        res.write('ab')
        attempt(() => res.write('cd'))
        res.end('c')
        attempt(() => res.end())
      },
    })
    const text = await server.exchange(`GET / HTTP/1.1\r\nHost: a\r\n${close}\r\n`)
    expect(text).to.match(/Content-Length: 3\r\n(.*\r\n)?\r\nabc$/s)
    expect(codes).to.deep.equal([...Array(4).fill('ERR_MR_HTTP'), 'ERR_MR_DATA', 'ERR_MR_HTTP', 'ERR_MR_HTTP'])
  })

  it('refuses names that are no strings and values that are no text, with ERR_MR_HTTP', async () => {
    const codes: unknown[] = []
    const server = await start({
      request(req, res) {
        const calls = [null, 5, {}, Symbol('s'), Object.create(null)].flatMap((odd) => [
          () => res.setHeader(odd as never, 'x'),
          () => res.appendHeader(odd as never, 'x'),
          () => res.removeHeader(odd as never),
          () => res.hasHeader(odd as never),
          () => req.header(odd as never),
        ])
        const values = [null, {}, Symbol('s'), [Symbol('s')], [['x']]].map((odd) => () => res.setHeader('x-odd', odd as never))
        for (const call of [...calls, ...values]) {
          try {
            call()
            codes.push('none')
          } catch (error) {
            codes.push((error as { code?: string }).code ?? error)
          }
        }
        // One length, not two.
        res.appendHeader('Content-Length', 7).appendHeader('Content-Length', 2)
        res.write('ok')
        res.end()
      },
    })
    const text = await server.exchange(`GET / HTTP/1.1\r\nHost: a\r\n${close}\r\n`)
    expect(codes).to.deep.equal(new Array(30).fill('ERR_MR_HTTP'))
    expect(text.match(/content-length: \d+/gi)).to.deep.equal(['Content-Length: 2'])
    expect(text.endsWith('\r\n\r\nok')).to.equal(true)
  })

  it('sends values above ASCII as they are, and bodies in UTF-8', async () => {
    const server = await start({ request: (_req, res) => res.setHeader('X-Name', 'M\u00fcller').end('\u20ac') })
    const text = await server.exchange(`GET / HTTP/1.1\r\nHost: a\r\n${close}\r\n`)
    expect(text).to.include('X-Name: M\u00fcller\r\n').and.to.include('Content-Length: 3\r\n\r\n\u00e2\u0082\u00ac')
  })

  it('makes a slow peer wait: a body that nobody takes stops, and goes on', async () => {
    let take!: () => void
    const taken = new Promise<void>((resolve) => {
      take = resolve
    })
    const server = await start({
      maxBodyBytes: 64 << 20,
      async request(req, res) {
        await taken
        let size = 0
        for await (const piece of req) size += piece.length
        res.end(String(size))
      },
    })
    const client = await Client.connect(server.port)
    const size = 32 << 20
    client.write(`POST / HTTP/1.1\r\nHost: a\r\n${close}Content-Length: ${size}\r\n\r\n`)
    const chunk = Buffer.alloc(1 << 20)
    for (let sent = 0; sent < size; sent += chunk.length) client.write(chunk)
    // As much as the socket's buffers and ours hold, and no more.
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(client.socket.writableLength).to.be.above(size / 2)
    take()
    await client.untilClosed()
    expect(client.received.toString()).to.match(new RegExp(`${size}$`))
  })

  it('makes a fast writer wait: write() says false, and drained() resolves when the peer has taken it', async () => {
    let waits = 0
    const server = await start({
      async request(_req, res) {
        const part = Buffer.alloc(64 << 10, 'x')
        for (let i = 0; i < 48; i++) {
          if (res.write(part)) continue
          waits++
          await res.drained()
        }
        res.end()
      },
    })
    const client = await Client.connect(server.port)
    client.socket.pause()
    client.write(`GET / HTTP/1.0\r\n\r\n`)
    client.socket.resume()
    await client.untilClosed()
    expect(client.received.length).to.be.above(3 << 20)
    expect(waits).to.be.above(0)
  })

  it('tells a handler whose peer has gone, with its signal and its body', async () => {
    const told: string[] = []
    let both!: () => void
    const done = new Promise<void>((resolve) => {
      both = resolve
    })
    let begun!: () => void
    const running = new Promise<void>((resolve) => {
      begun = resolve
    })
    const server = await start({
      async request(req, res) {
        req.signal.addEventListener('abort', () => {
          told.push('signal')
          if (told.length === 2) both()
        })
        begun()
        try {
          await req.bytes()
        } catch (error) {
          told.push((error as { code: string }).code)
          if (told.length === 2) both()
        }
        expect(res.ended).to.equal(true)
      },
    })
    const client = await Client.connect(server.port)
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc')
    await running
    client.socket.resetAndDestroy()
    await done
    expect(told).to.have.members(['signal', 'ERR_MR_CONNECTION_CLOSED'])
    expect(server.errors).to.deep.equal([])
  })

  it('answers 413 to a chunked body that grows too long', async () => {
    const server = await start({ maxBodyBytes: 10, request: async (req, res) => res.end(await req.bytes()) })
    const text = await server.exchange(
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n',
      '8\r\n12345678\r\n',
      '8\r\n12345678\r\n',
    )
    expect(statuses(text)).to.deep.equal([413])
  })

  it('answers 408 to a head, and to a body, that does not come in time', async () => {
    const server = await start({
      headersTimeoutMs: 200,
      requestTimeoutMs: 300,
      request: async (req, res) => res.end(await req.bytes()),
    })
    expect(statuses(await server.exchange('GET / HTTP/1.1\r\nHos'))).to.deep.equal([408])
    expect(statuses(await server.exchange('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\nabc'))).to.deep.equal([408])
  })

  it('reads a peer no further that goes on and on behind its last request, and answers it all the same', async () => {
    let answer!: () => void
    const asked = new Promise<void>((resolve) => {
      answer = resolve
    })
    const server = await start({
      async request(_req, res) {
        await asked
        res.end('answered')
      },
    })
    const client = await Client.connect(server.port, { allowHalfOpen: true })
    client.write(`GET / HTTP/1.1\r\nHost: a\r\n${close}\r\n`)
    const more = Buffer.from(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n${'x'.repeat(200_000)}`)
    expect(await flood(client, more, server.reactor, 64 << 20)).to.be.within(15 << 20, 18 << 20)
    answer()
    await client.until((c) => c.ended)
    expect(client.received.toString()).to.match(/^HTTP\/1.1 200 .*answered$/s)
    client.destroy()
  })

  it('closes a connection that is silent for keepAliveTimeoutMs between requests', async () => {
    const server = await start({ keepAliveTimeoutMs: 100, request: (_req, res) => res.end('x') })
    expect(statuses(await server.exchange('GET / HTTP/1.1\r\nHost: a\r\n\r\n'))).to.deep.equal([200])
  })

  it('says that it closes while the server closes, and answers what is in flight first', async () => {
    let finish!: () => void
    let begun!: () => void
    const running = new Promise<void>((resolve) => {
      begun = resolve
    })
    const server = await HttpServer.start({
      async request(_req, res) {
        begun()
        await new Promise<void>((resolve) => {
          finish = resolve
        })
        res.end('answered')
      },
    })
    const client = await Client.connect(server.port)
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await running
    const closing = server.close()
    finish()
    await client.untilClosed()
    await closing
    expect(client.received.toString()).to.match(/Connection: close\r\n.*answered$/s)
  })

  it('lets an upload end that had begun when the server closes', async () => {
    let begun!: () => void
    const running = new Promise<void>((resolve) => {
      begun = resolve
    })
    const server = await HttpServer.start({
      async request(req, res) {
        begun()
        res.end(String((await req.bytes()).length))
      },
    })
    const client = await Client.connect(server.port)
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\nabc')
    await running
    const closing = server.close()
    client.write(Buffer.alloc(39_997))
    await client.untilClosed()
    await closing
    expect(client.received.toString()).to.match(/40000$/)
  })

  it('serves fetch with responses of its own and of Node, whole and streamed', async () => {
    const server = await start({
      async fetch(request: Request) {
        const { pathname } = new URL(request.url)
        expect(request).to.be.instanceOf(Request)
        if (pathname === '/light')
          return new LightResponse('light', { status: 201, headers: { 'X-A': 'b' } }) as unknown as Response
        if (pathname === '/node') return new Response('node', { headers: { 'X-A': 'b' } })
        if (pathname === '/json') return LightResponse.json({ got: await request.json() }) as unknown as Response
        if (pathname === '/clone') return new Response(`${await request.clone().text()}${await request.text()}`)
        if (pathname === '/stream') {
          return new Response(
            new ReadableStream({
              async start(controller) {
                for (const part of ['a', 'b', 'c']) {
                  controller.enqueue(new TextEncoder().encode(part))
                  await new Promise((resolve) => setTimeout(resolve, 5))
                }
                controller.close()
              },
            }),
          )
        }
        return 'no response' as never
      },
    })
    const light = await fetch(`${server.url}/light`)
    expect([light.status, light.headers.get('x-a'), light.headers.get('content-type'), await light.text()]).to.deep.equal([
      201,
      'b',
      'text/plain;charset=UTF-8',
      'light',
    ])
    const node = await fetch(`${server.url}/node`)
    expect([node.headers.get('content-length'), node.headers.get('x-a'), await node.text()]).to.deep.equal(['4', 'b', 'node'])
    const json = await fetch(`${server.url}/json`, { method: 'POST', body: '{"a":1}' })
    expect([json.headers.get('content-type'), await json.json()]).to.deep.equal(['application/json', { got: { a: 1 } }])
    expect(await (await fetch(`${server.url}/clone`, { method: 'POST', body: 'ab' })).text()).to.equal('abab')
    const stream = await fetch(`${server.url}/stream`)
    expect([stream.headers.get('transfer-encoding'), await stream.text()]).to.deep.equal(['chunked', 'abc'])
    expect((await fetch(`${server.url}/nothing`)).status).to.equal(500)
  })

  it('cancels the stream of a response whose peer has gone', async () => {
    let over = false
    let cancelled!: () => void
    const gone = new Promise<void>((resolve) => {
      cancelled = resolve
    })
    const server = await start({
      fetch: () =>
        new Response(
          new ReadableStream({
            async pull(controller) {
              await new Promise((resolve) => setImmediate(resolve))
              if (!over) controller.enqueue(new Uint8Array(10))
            },
            cancel() {
              over = true
              cancelled()
            },
          }),
        ),
    })
    const client = await Client.connect(server.port)
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.bytes(200)
    client.destroy()
    await gone
  })
})
