import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http2 from 'node:http2'
import { attach, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { serve } from 'multireactor'
import { app } from '../support/app.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const pem = (name: string): Buffer => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))
const large = Buffer.alloc(1 << 20, 'abcdefgh')

describe('an attached http2 server', () => {
  let before: ReturnType<typeof census>
  let reactor: Reactor
  beforeEach(() => {
    before = census()
    reactor = new Reactor()
  })
  afterEach(async () => {
    await reactor.close({ timeoutMs: 0 })
    await new Promise((resolve) => setImmediate(resolve))
    expectNothingLeft(before)
  })

  const answer = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void => {
    if (headers[':path'] === '/large') {
      stream.respond({ ':status': 200 })
      stream.end(large)
      return
    }
    const parts: Buffer[] = []
    stream.on('data', (part: Buffer) => parts.push(part))
    stream.on('end', () => {
      stream.respond({ ':status': 200, 'x-path': headers[':path']! })
      stream.end(Buffer.concat(parts))
    })
  }

  async function ask(session: http2.ClientHttp2Session, path: string, body = ''): Promise<[unknown, Buffer]> {
    const stream = session.request({ ':path': path, ':method': body === '' ? 'GET' : 'POST' })
    if (body !== '') stream.end(body)
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    const parts: Buffer[] = []
    for await (const part of stream) parts.push(part as Buffer)
    return [headers['x-path'], Buffer.concat(parts)]
  }

  const kinds = {
    'over TCP, with prior knowledge': { scheme: 'http', make: () => http2.createServer() },
    'over its own TLS': {
      scheme: 'https',
      make: () => http2.createSecureServer({ cert: pem('first'), key: pem('first-key') }),
    },
  }
  for (const [kind, { scheme, make }] of Object.entries(kinds)) {
    it(`answers many streams of one connection ${kind}`, async () => {
      const server = make()
      server.on('stream', answer)
      const { port } = await reactor.listen({ port: 0, host: '127.0.0.1' }, attach(server))
      const session = http2.connect(`${scheme}://127.0.0.1:${port}`, { ca: pem('ca'), servername: 'first.example' })
      const asked = Array.from({ length: 40 }, (_, i) =>
        ask(session, i % 10 === 0 ? '/large' : `/${i}`, i % 2 === 0 ? '' : `body ${i}`),
      )
      for (const [i, [path, body]] of (await Promise.all(asked)).entries()) {
        if (i % 10 === 0) expect(body.equals(large), `${i}`).to.equal(true)
        else expect([path, body.toString()]).to.deep.equal([`/${i}`, i % 2 === 0 ? '' : `body ${i}`])
      }
      session.close()
      await once(session, 'close')
    })
  }

  it('says goodbye to its sessions in drain, so that close() waits for none', async () => {
    const logger = { debug() {}, info() {}, warn() {}, error() {} }
    const server = await serve({ app: app('http2'), listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool: 1, logger })
    const session = http2.connect(`http://127.0.0.1:${server.listeners[0]!.port}`)
    expect((await ask(session, '/'))[1].toString()).to.equal('hello')
    const goodbye = once(session, 'goaway')
    const closed = once(session, 'close')
    await server.close({ timeoutMs: 600_000 })
    expect((await goodbye)[0]).to.equal(http2.constants.NGHTTP2_NO_ERROR)
    await closed
  })
})
