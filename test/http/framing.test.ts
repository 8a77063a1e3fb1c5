import { HttpResponse } from '@multireactor/http'
import { expect } from 'chai'
import { type Server, serve } from 'multireactor'
import { app } from '../support/app.js'
import { answerAsAsked, fetchAsAsked, fetchWays, ways } from '../support/heads.js'
import { exchangeAll, HttpServer } from '../support/http.js'

const noLog = { debug() {}, info() {}, warn() {}, error() {} }
const listen = { port: 0, host: '127.0.0.1' }

/** Fields that an app may set, all of which say something of the framing; `status`: of the response, where it is another one. */
const asked: { fields: string[]; status?: number; notFor?: string[] }[] = [
  { fields: [] },
  { fields: ['Content-Length:5', 'content-length:5'] },
  // The length of a body in one piece is known.
  { fields: ['Content-Length:4'], notFor: ['write', 'later'] },
  { fields: ['Connection:keep-alive', 'connection:close, X-Hop', 'Connection:X-Other'] },
  { fields: ['Connection:close'] },
  { fields: ['Connection:keep-alive, Keep-Alive'] },
  { fields: ['Date:Thu, 01 Jan 2026 00:00:00 GMT', 'Content-Length:5', 'Connection:close'] },
]

interface Answer {
  status: number
  fields: Map<string, string[]>
  content: string
}

function answerIn(text: string): Answer {
  const end = text.indexOf('\r\n\r\n')
  const [line, ...lines] = text.slice(0, end).split('\r\n') as [string, ...string[]]
  const fields = new Map<string, string[]>()
  for (const each of lines) {
    const [name, value] = each.split(/: (.*)/s) as [string, string]
    fields.set(name.toLowerCase(), [...(fields.get(name.toLowerCase()) ?? []), value])
  }
  return { status: Number(line.split(' ')[1]), fields, content: text.slice(end + 4) }
}

/** RFC 9110, sections 6.6.1, 8.6, 15.3.5, 15.3.6; RFC 9112, section 6. */
function expectFramed(answer: Answer, what: string, method: string, status: number, http10: boolean, keeps: boolean): void {
  expect(answer.status, what).to.equal(status)
  const { fields, content } = answer
  const lengths = fields.get('content-length') ?? []
  const codings = fields.get('transfer-encoding') ?? []
  const connection = fields.get('connection') ?? []
  expect(fields.get('date'), `${what}: Date`).to.have.length(1)
  expect(connection.length, `${what}: Connection`).to.be.at.most(1)
  const options = (connection[0] ?? '').split(', ')
  expect(options.includes('close') && options.includes('keep-alive'), `${what}: ${connection}`).to.equal(false)
  const closes = options.includes('close') || (http10 && !options.includes('keep-alive'))
  if (!keeps) expect(closes, `${what}: ${connection}`).to.equal(true)
  expect(lengths.length + codings.length, `${what}: ${lengths} ${codings}`).to.be.at.most(1)
  if (method === 'HEAD' || [204, 205, 304].includes(status)) {
    expect(content, what).to.equal('')
    expect(codings, what).to.deep.equal([])
    if (status === 204) expect(lengths, what).to.deep.equal([])
    if (status === 205) expect(lengths, what).to.deep.equal(['0'])
    return
  }
  const expected = status === 500 || what.includes('/nothing') ? '' : 'hello'
  if (codings.length > 0) {
    expect(http10, what).to.equal(false)
    expect(codings, what).to.deep.equal(['chunked'])
    expect(content.endsWith('0\r\n\r\n'), what).to.equal(true)
    expect(content.replace(/[0-9a-f]+\r\n(.*?)\r\n/gs, '$1').replace('\r\n', ''), what).to.equal(expected)
    return
  }
  expect(content, what).to.equal(expected)
  if (lengths.length > 0) expect(lengths, what).to.deep.equal([String(expected.length)])
  else expect(closes, `${what}: only the end of the connection ends it`).to.equal(true)
}

describe('what frames an HTTP response', () => {
  const reactors: HttpServer[] = []
  const pools: Server[] = []
  const places: { name: string; port: number; ways: readonly string[] }[] = []

  before(async () => {
    const own = await HttpServer.start({ request: answerAsAsked })
    const fetching = await HttpServer.start({ fetch: fetchAsAsked })
    reactors.push(own, fetching)
    for (const name of ['http-heads', 'http-heads-fetch']) {
      pools.push(await serve({ app: app(name), listen, reactors: 1, pool: 1, logger: noLog }))
    }
    places.push({ name: 'request', port: own.port, ways })
    places.push({ name: 'fetch', port: fetching.port, ways: fetchWays })
    places.push({ name: 'request in the pool', port: pools[0]!.listeners[0]!.port, ways })
    places.push({ name: 'fetch in the pool', port: pools[1]!.listeners[0]!.port, ways: fetchWays })
  })
  after(async () => {
    for (const server of reactors) await server.close()
    for (const server of pools) await server.close()
  })

  for (const method of ['GET', 'HEAD']) {
    for (const status of [200, 204, 205, 304]) {
      it(`is said once, and is true, for ${method} with ${status}, whatever the app sets in whatever way`, async () => {
        for (const place of places) {
          const seen = await Promise.all(
            place.ways.flatMap((way) =>
              asked
                .filter(({ notFor }) => !notFor?.includes(way))
                .flatMap(({ fields }) =>
                  ['1.1', '1.0'].map(async (version) => {
                    const query = fields.map((field) => `&field=${encodeURIComponent(field)}`).join('')
                    const target = `/${way}?status=${status}${query}`
                    const head = `${method} ${target} HTTP/${version}\r\nHost: a\r\n`
                    const first = await exchangeAll(place.port, [`${head}Connection: close\r\n\r\n`])
                    return { what: `${place.name}: ${method} ${target} ${fields} HTTP/${version}`, version, first }
                  }),
                ),
            ),
          )
          for (const { what, version, first } of seen)
            expectFramed(answerIn(first), what, method, status, version === '1.0', false)
        }
      })
    }
  }

  it('says keep-alive to HTTP/1.0 beside the options that the app sets', async () => {
    for (const place of places) {
      const target = '/nothing?status=200&field=Connection:X-Hop'
      const ask = `GET ${target} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n`
      const text = await exchangeAll(place.port, [ask + ask.replace('keep-alive', 'close')])
      const connections = [...text.matchAll(/^connection: (.*)\r$/gim)].map(([, value]) => value)
      expect(connections, place.name).to.deep.equal(['X-Hop, keep-alive', 'X-Hop, close'])
    }
  })

  it('cannot be set by the app: no coding, no list of lengths, no status that has no end', async () => {
    const server = reactors[0]!
    const ask = async (target: string) =>
      answerIn(await exchangeAll(server.port, [`GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`]))
    for (const query of [
      'field=Transfer-Encoding:chunked',
      'field=Content-Length:5,6',
      'field=Content-Length:-1',
      'field=Content-Length:',
      'field=Connection:a%20b',
      'status=100',
      'status=101',
      'status=103',
      'status=199',
      'status=1000',
    ]) {
      for (const way of ways) {
        const { status, fields, content } = await ask(`/${way}?${query}`)
        expect([status, fields.get('content-length'), content], `${way} ${query}`).to.deep.equal([500, ['0'], ''])
      }
    }
    expect(server.errors.map((error) => (error as NodeJS.ErrnoException).code)).to.satisfy((codes: string[]) =>
      codes.every((code) => code === 'ERR_MR_HTTP'),
    )
    server.errors.length = 0
  })

  it('is asked for and removed as it is set', () => {
    // Users cannot make one: its constructor is not in the types.
    const Made = HttpResponse as unknown as new (target: { mustClose(): boolean }, info: number) => HttpResponse
    const res = new Made({ mustClose: () => false }, 0)
    res.appendHeader('Connection', ['close', 'X-Hop']).appendHeader('Content-Length', '5, 5')
    expect([res.hasHeader('connection'), res.hasHeader('content-length')]).to.deep.equal([true, true])
    res.removeHeader('CONNECTION')
    res.removeHeader('Content-length')
    expect([res.hasHeader('connection'), res.hasHeader('content-length')]).to.deep.equal([false, false])
    expect(() => res.setHeader('Content-Length', [])).to.throw('Content-Length must be a whole number')
  })
})
