import { expect } from 'chai'
import { Client } from '../support/client.js'
import { bytesOf, HttpServer, statuses } from '../support/http.js'

const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
const last = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'

describe('HTTP/1.1', () => {
  let server: HttpServer
  before(async () => {
    server = await HttpServer.start({
      maxHeadBytes: 1024,
      maxHeaders: 8,
      maxBodyBytes: 100_000,
      async request(req, res) {
        if (req.path === '/echo') return res.end(await req.bytes())
        if (req.path === '/parts') {
          res.write('one')
          await new Promise((resolve) => setImmediate(resolve))
          res.write('two')
          return res.end()
        }
        if (req.path === '/wrong') {
          try {
            res.write(5 as never)
          } catch (error) {
            return res.status(500).end((error as NodeJS.ErrnoException).code)
          }
        }
        if (req.path === '/empty') return res.status(204).end()
        if (req.path === '/same') return res.status(304).setHeader('ETag', '"x"').end('never sent')
        if (req.path === '/slow') await new Promise((resolve) => setImmediate(resolve))
        res.end(`${req.method} ${req.url}`)
      },
    })
  })
  after(() => server.close())

  // RFC 9112, by section; the required status of each.
  const refused: [claim: string, status: number, stream: string][] = [
    ['2.2: a bare line feed does not end a line', 400, 'GET / HTTP/1.1\nHost: a\n\n'],
    ['2.2: a bare carriage return is refused', 400, 'GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n'],
    ['2.2: a blank line start before the first field is refused', 400, 'GET / HTTP/1.1\r\n Host: a\r\n\r\n'],
    ['2.3: another major version is refused', 505, 'GET / HTTP/2.0\r\nHost: a\r\n\r\n'],
    ['3: two blanks in the request line are refused', 400, 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['3: a request line that is too long is refused', 414, `GET /${'a'.repeat(1100)} HTTP/1.1\r\nHost: a\r\n\r\n`],
    ['3.2: a request without host is refused', 400, 'GET / HTTP/1.1\r\n\r\n'],
    ['3.2: a second host is refused', 400, 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
    ['3.2: a host that is none is refused', 400, 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n'],
    ['3.2.3: a tunnel is not made', 501, 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n'],
    ['5: fields that are too long are refused', 431, `GET / HTTP/1.1\r\nHost: a\r\nA: ${'b'.repeat(1100)}\r\n\r\n`],
    ['5: too many fields are refused', 431, `GET / HTTP/1.1\r\nHost: a\r\n${'A: b\r\n'.repeat(8)}\r\n`],
    ['5.1: a blank before the colon is refused', 400, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc'],
    ['5.2: a folded line is refused', 400, 'GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n'],
    ['5.5: a NUL is refused', 400, 'GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n'],
    [
      '6.1: a length beside a coding is refused',
      400,
      'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['6.1: an unknown coding is refused', 501, 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
    ['6.1: a coding in HTTP/1.0 is refused', 400, 'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    [
      '6.3: a coding that does not end in chunked is refused',
      400,
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n',
    ],
    ['6.3: two lengths are refused', 400, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc'],
    ['6.3: a length with a sign is refused', 400, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc'],
    ['6.3: a length above the limit is refused', 413, 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n'],
    ['7.1: a chunk without length is refused', 400, 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n'],
    [
      '7.1: a chunk that is longer than it says is refused',
      400,
      'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n',
    ],
    [
      '7.1.2: a trailer cannot say how the message is framed',
      400,
      'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n',
    ],
    ['10.1.1 of RFC 9110: an unknown expectation is refused', 417, 'GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n'],
  ]
  for (const [claim, status, stream] of refused) {
    it(`${claim}, however it arrives, and only behind what came before it`, async () => {
      const whole = await server.exchange(get + stream)
      expect(statuses(whole)).to.deep.equal([200, status])
      expect(whole).to.match(/Connection: close\r\n/)
      expect(await server.exchange(...bytesOf(get + stream))).to.equal(whole)
    })
  }

  it('a part that is no data is refused before the head has left, so that an error can be answered', async () => {
    const whole = await server.exchange('GET /wrong HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    expect(statuses(whole)).to.deep.equal([500])
    expect(whole).to.match(/ERR_MR_DATA$/)
  })

  const served: [claim: string, stream: string, bodies: RegExp][] = [
    ['2.2: an empty line before a request is skipped', `\r\n${last}`, /\r\n\r\nGET \/$/],
    [
      '3.2.2: an absolute target is taken',
      'GET http://a/b?c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
      /GET http:\/\/a\/b\?c$/,
    ],
    ['5.1: blanks around a value mean nothing', 'GET / HTTP/1.1\r\nHost:\t a \t\r\nConnection: close\r\n\r\n', /GET \/$/],
    [
      '6.3: a body of a known length is read',
      'POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nabcde',
      /Content-Length: 5\r\n\r\nabcde$/,
    ],
    [
      '7.1: a chunked body is read, with extensions and trailer',
      'POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n3;a="b"\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n',
      /Content-Length: 5\r\n\r\nabcde$/,
    ],
    [
      '7.1: a body of unknown length is sent in chunks',
      'GET /parts HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
      /\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n$/,
    ],
    ['9.3: HTTP/1.0 closes', 'GET /parts HTTP/1.0\r\n\r\n', /Connection: close\r\n\r\nonetwo$/],
    [
      '9.3: HTTP/1.0 may ask to be kept',
      `GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n${last}`,
      /Connection: keep-alive\r\n.*GET \/$/s,
    ],
    [
      '9.3.2: pipelined requests are answered in order',
      `GET /slow HTTP/1.1\r\nHost: a\r\n\r\n${get.replace('/', '/2')}${last}`,
      /GET \/slow.*GET \/2.*GET \/$/s,
    ],
    ['9.6: nothing behind a request that closes is answered', `${last}GET /never HTTP/1.1\r\nHost: a\r\n\r\n`, /GET \/$/],
    [
      '6.3: a response to HEAD has no body, and its length',
      `HEAD / HTTP/1.1\r\nHost: a\r\n\r\n${last}`,
      /Content-Length: 6\r\n\r\nHTTP.*GET \/$/s,
    ],
    [
      '6.3: 204 has neither body nor length',
      `GET /empty HTTP/1.1\r\nHost: a\r\n\r\n${last}`,
      /^HTTP\/1.1 204 No Content\r\n\r\nHTTP/,
    ],
    [
      '6.3: 304 has no body',
      `GET /same HTTP/1.1\r\nHost: a\r\n\r\n${last}`,
      /^HTTP\/1.1 304 Not Modified\r\nETag: "x"\r\n\r\nHTTP/,
    ],
  ]
  for (const [claim, stream, bodies] of served) {
    it(`${claim}, however it arrives`, async () => {
      const whole = await server.exchange(stream)
      expect(whole).to.match(bodies)
      expect(await server.exchange(...bytesOf(stream))).to.equal(whole)
    })
  }

  it('answers 100 requests that come at once, each in its turn', async () => {
    const paths = Array.from({ length: 100 }, (_, i) => `/${i % 3 === 0 ? 'slow' : 'n'}?${i}`)
    const all = paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join('')
    const text = await server.exchange(all + last)
    expect([...text.matchAll(/GET (\/\w+\?\d+)/g)].map(([, path]) => path)).to.deep.equal(paths)
  })

  it('100 Continue comes when somebody wants the body, and never when nobody does', async () => {
    const body = 'x'.repeat(20_000)
    const head = `HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`
    expect(statuses(await server.exchange(`POST /echo ${head}`, body))).to.deep.equal([100, 200])
    expect(statuses(await server.exchange(`POST /unread ${head}`))).to.deep.equal([200])
    const short = 'POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n'
    const client = await Client.connect(server.port)
    client.write(get + short)
    await client.until(({ received }) => statuses(received.toString()).length === 2)
    client.write('abc')
    await client.untilClosed()
    expect(statuses(client.received.toString())).to.deep.equal([200, 100, 200])
  })
})
