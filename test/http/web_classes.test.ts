import { inspect } from 'node:util'
import { type HttpRequest, LightRequest, LightResponse } from '@multireactor/http'
import { expect } from 'chai'
import { exchangeAll, HttpServer } from '../support/http.js'

const Light = LightResponse as unknown as typeof Response
const post = (body: string, fields = '') =>
  `POST /a?b=c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${fields}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

describe('the Request that a fetch handler gets', () => {
  let server: HttpServer
  let handle: (request: Request) => unknown
  before(async () => {
    server = await HttpServer.start({
      fetch: async (request) => {
        try {
          return Response.json({ result: (await handle(request)) ?? null })
        } catch (error) {
          return Response.json({ error: `${(error as Error).name}: ${(error as Error).message}` })
        }
      },
    })
  })
  after(() => server.close())

  /** The handler's result for a request, through the socket. */
  async function of(text: string, handler: (request: Request) => unknown): Promise<unknown> {
    handle = handler
    const answer = await exchangeAll(server.port, [text])
    const { result, error } = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as { result: unknown; error?: string }
    if (error !== undefined) throw new Error(error)
    return result
  }
  const get = 'GET /a HTTP/1.1\r\nHost: a\r\nX-A: b\r\nConnection: close\r\n\r\n'

  it('is one to whoever asks: by class, name, members and text', async () => {
    expect(
      await of(get, (request) => [
        request instanceof Request,
        Object.prototype.toString.call(request),
        request.constructor === Request,
        Object.keys(Request.prototype).filter((name) => !(name in request)),
        (() => {
          const names: string[] = []
          for (const name in request) names.push(name)
          return Object.keys(Request.prototype).every((name) => names.includes(name))
        })(),
        inspect(request).startsWith('Request {'),
        (request as unknown as { isReloadNavigation: boolean }).isReloadNavigation,
      ]),
    ).to.deep.equal([true, '[object Request]', true, [], true, true, false])
  })

  it('can be made into another one, whose body is then its own', async () => {
    expect(
      await of(post('hello', 'Content-Type: text/x\r\n'), async (request) => {
        const copy = new Request(request)
        const { method, url } = copy
        return [
          method,
          url,
          copy.headers.get('content-type'),
          request.bodyUsed,
          await copy.text(),
          request.bodyUsed,
          copy.bodyUsed,
        ]
      }),
    ).to.deep.equal(['POST', 'http://a/a?b=c', 'text/x', true, 'hello', true, true])
    expect(
      await of(get, async (request) => {
        const copy = new Request(request, { method: 'PUT', body: 'other', headers: { 'X-C': 'd' } })
        return [copy.method, copy.url, copy.headers.get('x-a'), copy.headers.get('x-c'), await copy.text(), request.bodyUsed]
      }),
    ).to.deep.equal(['PUT', 'http://a/a', null, 'd', 'other', false])
  })

  it('can be sent on by fetch()', async () => {
    const seen: string[] = []
    const next = await HttpServer.start({
      async request(req: HttpRequest, res) {
        seen.push(`${req.method} ${req.header('x-a')} ${await req.text()}`)
        res.end('behind')
      },
    })
    try {
      expect(
        await of(post('hello', 'X-A: b\r\n'), async (request) => {
          const response = await fetch(new Request(`${next.url}/`, request))
          return response.text()
        }),
      ).to.equal('behind')
      expect(seen).to.deep.equal(['POST b hello'])
    } finally {
      await next.close()
    }
  })

  it('keeps the fields that the program has changed, in a clone and in another one', async () => {
    expect(
      await of(post('hello'), async (request) => {
        const { headers } = request
        headers.set('x-first', '1')
        const clone = request.clone()
        headers.set('x-second', '2')
        headers.delete('x-first')
        const copy = new Request(request)
        return [
          headers === request.headers,
          clone.headers.get('x-first'),
          clone.headers.get('x-second'),
          copy.headers.get('x-first'),
          copy.headers.get('x-second'),
          await clone.text(),
        ]
      }),
    ).to.deep.equal([true, '1', null, null, '2', 'hello'])
  })

  it('gives its body once, and says so with a rejection', async () => {
    for (const how of ['text', 'json', 'arrayBuffer', 'bytes', 'blob', 'formData'] as const) {
      expect(
        await of(post('{}', 'Content-Type: text/plain\r\n'), async (request) => {
          const first = [request.bodyUsed, (await request.text()).length, request.bodyUsed, request.body !== null]
          const refused = (request as unknown as Record<typeof how, () => Promise<unknown>>)[how]().then(
            () => 'read twice',
            (error: Error) => error.name,
          )
          const made = (make: () => unknown) => {
            try {
              return make() && 'made'
            } catch (error) {
              return (error as Error).name
            }
          }
          return [...first, await refused, made(() => request.clone()), made(() => new Request(request))]
        }),
        how,
      ).to.deep.equal([false, 2, true, true, 'TypeError', 'TypeError', 'TypeError'])
    }
  })

  it('has no body where the standard has none, however often it is read', async () => {
    for (const text of [get, 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n']) {
      expect(
        await of(text, async (request) => [
          request.body,
          await request.text(),
          await request.text(),
          (await request.arrayBuffer()).byteLength,
          request.bodyUsed,
        ]),
      ).to.deep.equal([null, '', '', 0, false])
    }
  })

  it('decodes text as the standard does, and reads forms and blobs', async () => {
    expect(await of(post('\ufeffhello'), (request) => request.text())).to.equal('hello')
    expect(await of(post('\ufeff{"a":1}'), (request) => request.json())).to.deep.equal({ a: 1 })
    const form = 'Content-Type: application/x-www-form-urlencoded\r\n'
    expect(await of(post('a=b&c=d', form), async (request) => [...(await request.formData())])).to.deep.equal([
      ['a', 'b'],
      ['c', 'd'],
    ])
    const blob = async (request: Request) => {
      const { type, size } = await request.blob()
      return [type, size]
    }
    expect(await of(post('hello', 'Content-Type: text/x\r\n'), blob)).to.deep.equal(['text/x', 5])
  })

  it('has the URL that its parser makes of it', async () => {
    const urlOf = (target: string, host: string) =>
      of(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, (request) => [
        request.url,
        new URL(request.url).href,
        new Request(request).url,
      ])
    for (const [target, host, url] of [
      ['/a', 'a', 'http://a/a'],
      ['/', 'A.Example:8080', 'http://a.example:8080/'],
      ['/', 'a:80', 'http://a/'],
      ['/', '127.1', 'http://127.0.0.1/'],
      ['/a/../b/./c', 'a', 'http://a/b/c'],
      ['/a.b/c.d?e=./..', 'a', 'http://a/a.b/c.d?e=./..'],
      ['/a/%2E%2e/b', 'a', 'http://a/b'],
      ['/..', 'a', 'http://a/'],
      ['/%2e%2E', 'a', 'http://a/'],
      ['/"<>`{}|', 'a', 'http://a/%22%3C%3E%60%7B%7D|'],
      ['/?\'"', 'a', 'http://a/?%27%22'],
      ['/a#b', 'a', 'http://a/a#b'],
      ['//b/c', 'a', 'http://a//b/c'],
      ['/a\\b', 'a', 'http://a/a/b'],
      ['http://B/c', 'a', 'http://b/c'],
    ] as const) {
      expect(await urlOf(target, host), `${host} ${target}`).to.deep.equal([url, url, url])
    }
  })

  it('passes for one to the methods of Node, where they know theirs by symbols', async function () {
    if (Object.getOwnPropertySymbols(new Request('http://a')).length === 0) return this.skip()
    expect(
      await of(post('hello'), async (request) => {
        const { prototype } = Request
        return [request instanceof LightRequest, await prototype.text.call(prototype.clone.call(request)), await request.text()]
      }),
    ).to.deep.equal([true, 'hello', 'hello'])
  })
})

describe('the light Response', () => {
  it('is a Response to whoever asks, and Node’s own is one to it', () => {
    const light = new Light('hello')
    expect(light).to.be.instanceOf(Response)
    expect(new Response('hello')).to.be.instanceOf(Light)
    class Own extends Light {}
    expect(new Own('hello')).to.be.instanceOf(Own)
    expect(light).not.to.be.instanceOf(Own)
    expect(Object.prototype.toString.call(light)).to.equal('[object Response]')
    expect([Light.name, Light.length, light.constructor]).to.deep.equal([Response.name, Response.length, Light])
    const names: string[] = []
    for (const name in light) names.push(name)
    expect(names).to.include.members(Object.keys(Response.prototype))
    expect(inspect(light)).to.match(/^Response \{/)
  })

  it('refuses what a Response refuses', () => {
    const both = (make: (Class: typeof Response) => unknown, what: string) => {
      const nameOf = (Class: typeof Response) => {
        try {
          make(Class)
          return 'made'
        } catch (error) {
          return (error as Error).name
        }
      }
      expect(nameOf(Light), what).to.equal(nameOf(Response))
      expect(nameOf(Light), what).not.to.equal('made')
    }
    for (const status of [0, 100, 101, 199, 600, 1000, -1, Number.NaN, 'x']) {
      both((Class) => new Class('', { status: status as number }), `${status}`)
    }
    for (const status of [204, 205, 304]) both((Class) => new Class('', { status }), `${status}`)
    both((Class) => Class.json({}, { status: 204 }), 'json 204')
    for (const statusText of ['\n', '\x7f', 'Ā']) both((Class) => new Class('', { statusText }), statusText)
    for (const [name, value] of [
      ['', 'a'],
      ['a b', 'c'],
      ['é', 'c'],
      ['a', 'b\nc'],
      ['a', 'b\0c'],
      ['a', 'Ā'],
    ] as const) {
      both((Class) => new Class('', { headers: { [name]: value } }), `${name}: ${value}`)
      both((Class) => new Class('', { headers: [[name, value]] }), `${name}: ${value}`)
    }
    both((Class) => Class.json(undefined), 'json undefined')
    both((Class) => Class.json(Symbol('a')), 'json symbol')
    both((Class) => Class.redirect('http://a', 200 as never), 'redirect 200')
    both((Class) => Class.redirect('http://:x', 302), 'redirect nowhere')
    expect(() => Light.redirect('/a', 200 as never)).to.throw(RangeError)
  })

  it('has the fields, the status and the body of one', async () => {
    for (const Class of [Light, Response]) {
      const spaced = new Class('x', { status: '201' as never, statusText: 'Made', headers: { 'X-A': '  b\t' } })
      expect([spaced.status, spaced.statusText, spaced.headers.get('x-a')]).to.deep.equal([201, 'Made', 'b'])
      expect(new Class('').body).not.to.equal(null)
      expect(new Class(null).body).to.equal(null)
      expect(await new Class('\ufeffa').text()).to.equal('a')
      const away = Class.redirect('http://A/b c', 302)
      expect([away.status, away.headers.get('location')]).to.deep.equal([302, 'http://a/b%20c'])
      const failed = Class.error()
      expect([failed.type, failed.status]).to.deep.equal(['error', 0])
      const json = Class.json({ a: 1 }, { headers: { 'Content-Type': 'x/y' } })
      expect([json.headers.get('content-type'), await json.json()]).to.deep.equal(['x/y', { a: 1 }])
      expect(Class.json(1).headers.get('content-type')).to.equal('application/json')
      expect(await new Class(new Class('again').body).text()).to.equal('again')
    }
    expect(Light.redirect('/login', 302).headers.get('location')).to.equal('/login')
  })

  it('is not what the program does later with what it was made of', async () => {
    const headers = { 'X-A': 'b' }
    const bytes = Buffer.from('hello')
    const { buffer } = new Uint8Array([104, 105])
    const light = new Light(bytes, { headers })
    const other = new Light(buffer)
    headers['X-A'] = 'c'
    bytes.fill('x')
    new Uint8Array(buffer).fill(0)
    expect([light.headers.get('x-a'), await light.text(), await other.text()]).to.deep.equal(['b', 'hello', 'hi'])
    const entries = (function* () {
      yield ['X-A', 'b'] as [string, string]
    })()
    const once = new Light('', { headers: entries as never })
    expect([once.headers.get('x-a'), once.headers.get('x-a')]).to.deep.equal(['b', 'b'])
  })

  it('keeps its fields, and what the program changes of them, when its body is read or cloned', async () => {
    const light = new Light('hello', { headers: { 'X-A': 'b' } })
    const { headers } = light
    headers.append('Set-Cookie', 'a=b')
    headers.append('Set-Cookie', 'c=d')
    const clone = light.clone()
    headers.set('X-A', 'c')
    expect([await light.text(), light.headers === headers, light.bodyUsed]).to.deep.equal(['hello', true, true])
    expect([clone.headers.get('x-a'), clone.headers.getSetCookie(), await clone.text()]).to.deep.equal([
      'b',
      ['a=b', 'c=d'],
      'hello',
    ])
    expect(light.clone.bind(light)).to.throw(TypeError)
    const server = await HttpServer.start({
      fetch() {
        const response = new Light('hello', { headers: { 'X-A': 'b' } })
        const mine = response.headers
        response.clone()
        mine.set('x-a', 'changed')
        return response
      },
    })
    const response = await fetch(server.url)
    expect([response.headers.get('x-a'), await response.text()]).to.deep.equal(['changed', 'hello'])
    await server.close()
  })
})
