import { readFileSync } from 'node:fs'
import https from 'node:https'
import { httpApp, LightResponse } from '@multireactor/http'
import { expect } from 'chai'
import { type Server, serve } from 'multireactor'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { answerAsAsked, ways } from '../support/heads.js'
import { exchangeAll, HttpServer } from '../support/http.js'

const certificates = new URL('../../existing/certificates/', import.meta.url)
const pem = (name: string): string => readFileSync(new URL(`${name}.pem`, certificates), 'utf8')
const noLog = { debug() {}, info() {}, warn() {}, error() {} }

/** The values of a field in the first head of a server's output, and the bytes behind that head. */
class Head {
  readonly status: number
  readonly content: string
  readonly #lines: string[]

  constructor(text: string) {
    const end = text.indexOf('\r\n\r\n')
    this.#lines = text.slice(0, end).split('\r\n')
    this.status = Number(this.#lines[0]!.split(' ')[1])
    this.content = text.slice(end + 4)
  }

  values(name: string): string[] {
    return this.#lines.filter((line) => line.toLowerCase().startsWith(`${name}:`)).map((line) => line.slice(name.length + 2))
  }
}

async function ask(port: number, method: string, target: string, version = '1.1'): Promise<Head> {
  return new Head(await exchangeAll(port, [`${method} ${target} HTTP/${version}\r\nHost: a\r\nConnection: close\r\n\r\n`]))
}

describe('the head of an HTTP response', () => {
  const servers: HttpServer[] = []
  let pool: Server
  const places: Record<string, number> = {}

  before(async () => {
    servers.push(await HttpServer.start({ request: answerAsAsked }))
    places['a reactor'] = servers[0]!.port
    const listen = [
      { name: 'plain', port: 0, host: '127.0.0.1' },
      { name: 'secure', port: 0, host: '127.0.0.1', tls: { cert: pem('first'), key: pem('first-key') } },
    ]
    pool = await serve({ app: app('http-heads'), listen, reactors: 1, pool: 1, logger: noLog })
    places['the pool'] = pool.listeners[0]!.port
  })
  after(async () => {
    await pool.close()
    for (const server of servers) await server.close()
  })

  for (const place of ['a reactor', 'the pool']) {
    for (const method of ['GET', 'HEAD']) {
      for (const status of [200, 204, 205, 304, 404]) {
        it(`frames ${method} with ${status} the same way, however ${place} gives the content`, async () => {
          for (const version of ['1.1', '1.0']) {
            for (const way of ways) {
              const head = await ask(places[place]!, method, `/${way}?status=${status}`, version)
              const what = `${way}, HTTP/${version}`
              expect(head.status, what).to.equal(status)
              expect(head.values('date'), what).to.have.length(1)
              expect(head.values('connection'), what).to.deep.equal(['close'])
              const hasContent = method === 'GET' && ![204, 205, 304].includes(status)
              const lengths = head.values('content-length')
              const codings = head.values('transfer-encoding')
              if (hasContent) {
                const text = way === 'nothing' ? '' : 'hello'
                const chunked = way === 'write' && version === '1.1'
                expect(codings, what).to.deep.equal(chunked ? ['chunked'] : [])
                expect(lengths, what).to.deep.equal(way === 'write' ? [] : [String(text.length)])
                expect(head.content, what).to.equal(chunked ? '3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n' : text)
                continue
              }
              expect(head.content, what).to.equal('')
              expect(codings, what).to.deep.equal([])
              const known = status === 304 ? ['declared'] : ['end', 'bytes', 'declared']
              if (status === 205) expect(lengths, what).to.deep.equal(['0'])
              else expect(lengths, what).to.deep.equal(status !== 204 && known.includes(way) ? ['5'] : [])
            }
          }
        })
      }
    }

    it(`has one Date and one Content-Length in ${place}, the app's if it gives any, and the last that it gives`, async () => {
      const first = 'Thu, 01 Jan 2026 00:00:00 GMT'
      const second = 'Fri, 02 Jan 2026 00:00:00 GMT'
      for (const status of [200, 404]) {
        for (const way of ways) {
          const fields = [`Date:${first}`, `date:${second}`, 'Content-Length:5', 'content-length:5']
          const query = fields.map((field) => `field=${encodeURIComponent(field)}`).join('&')
          const head = await ask(places[place]!, 'HEAD', `/${way}?status=${status}&${query}`)
          expect(head.values('date'), way).to.deep.equal([second])
          expect(head.values('content-length'), way).to.deep.equal(['5'])
        }
      }
    })
  }

  it('of fetch says to HEAD what GET gets, or nothing of a length that nobody knows', async () => {
    const answers: Record<string, () => Response> = {
      light: () => new LightResponse('hello') as unknown as Response,
      native: () => new Response('hello'),
      stream: () => new Response(new Blob(['hello']).stream()),
      declared: () => new Response(null, { headers: { 'content-length': '1000' } }),
      dated: () => new Response('hello', { headers: { date: 'Thu, 01 Jan 2026 00:00:00 GMT' } }),
    }
    const server = await HttpServer.start({ fetch: (request) => answers[new URL(request.url).pathname.slice(1)]!() })
    servers.push(server)
    const lengthOf = async (method: string, name: string) => {
      const head = await ask(server.port, method, `/${name}`)
      expect(head.values('date'), name).to.have.length(1)
      if (method === 'HEAD') expect(head.content, name).to.equal('')
      return head.values('content-length')[0]
    }
    expect(await lengthOf('HEAD', 'light')).to.equal('5')
    expect(await lengthOf('HEAD', 'declared')).to.equal('1000')
    for (const name of ['native', 'stream', 'dated'])
      expect([undefined, await lengthOf('GET', name)]).to.include(await lengthOf('HEAD', name))
  })

  it('leaves at once when a fetch handler streams what is not there yet, and its stream is cancelled when the peer leaves', async () => {
    let cancelled: (reason: unknown) => void
    const leaving = new Promise((resolve) => {
      cancelled = resolve
    })
    const server = await HttpServer.start({
      fetch: () => new Response(new ReadableStream({ cancel: (reason) => cancelled(reason) })),
    })
    servers.push(server)
    const client = await Client.connect(server.port)
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.until(({ received }) => received.includes('\r\n\r\n'))
    client.socket.resetAndDestroy()
    expect(await leaving).to.have.property('code', 'ERR_MR_CONNECTION_CLOSED')
    expect(server.errors).to.deep.equal([])
  })

  it('is 400, and neither handler nor log hear of it, when Host and target make no URL', async () => {
    const seen: string[] = []
    const server = await HttpServer.start({
      fetch: (request) => {
        seen.push(new URL(request.url).host)
        return new Response('hello')
      },
    })
    servers.push(server)
    const status = async (host: string, target = '/') =>
      new Head(await exchangeAll(server.port, [`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`])).status
    for (const host of [
      'a b',
      'a:x',
      'a:70000',
      '[::1',
      '1.2.3.4.5',
      '999.1.1.1',
      '0x100000000',
      'a%zz',
      '%00',

      'a/b',
      'a?b',
      'u@a',
      'a#',
      '',
    ]) {
      expect(await status(host), host).to.equal(400)
    }
    expect(await status('', '/path')).to.equal(400)
    for (const host of ['a', 'A.example:8080', '127.0.0.1', '[::1]:80', 'a_b', 'xn--bcher-kva.example']) {
      expect(await status(host), host).to.equal(200)
    }
    expect(await status('a', 'http://b/c')).to.equal(200)
    expect(seen).to.deep.equal(['a', 'a.example:8080', '127.0.0.1', '[::1]', 'a_b', 'xn--bcher-kva.example', 'b'])
    expect(server.errors).to.deep.equal([])
  })

  it('belongs to a request that knows whether it came over TLS, on reactors and in the pool', async () => {
    const body = (port: number) =>
      new Promise<string>((resolve, reject) => {
        https.get({ port, host: '127.0.0.1', path: '/encrypted', rejectUnauthorized: false, agent: false }, (res) => {
          res.setEncoding('utf8').on('data', resolve).on('error', reject)
        })
      })
    expect(await body(pool.listeners[1]!.port)).to.equal('true')
    expect((await ask(pool.listeners[0]!.port, 'GET', '/encrypted')).content).to.equal('false')
    const server = await HttpServer.start({ fetch: () => new Response() })
    servers.push(server)
    const tls = { cert: pem('first'), key: pem('first-key') }
    const secure = await server.reactor.listen(
      { port: 0, host: '127.0.0.1', tls },
      httpApp({ fetch: (request) => new Response(`${request.url} ${request.clone().url}`) }),
    )
    const url = `https://127.0.0.1:${secure.port}/encrypted`
    expect(await body(secure.port)).to.equal(`${url} ${url}`)
  })
})
