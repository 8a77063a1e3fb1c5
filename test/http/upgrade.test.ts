import { AsyncLocalStorage } from 'node:async_hooks'
import type { ConnectionDuplex } from '@multireactor/reactor'
import { expect } from 'chai'
import { httpApp } from '@multireactor/http'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { HttpServer } from '../support/http.js'

const ask = (target: string, upgrade = 'echo/1', more = '') =>
  `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${upgrade}\r\n${more}\r\n`

describe('an upgrade to another protocol', () => {
  let before: ReturnType<typeof census>
  let server: HttpServer
  let asked: string[]
  let release: () => void
  beforeEach(async () => {
    before = census()
    asked = []
    server = await HttpServer.start({
      async request(req, res) {
        if (req.path === '/held') {
          await new Promise<void>((resolve) => {
            release = resolve
          })
        }
        res.end(`http ${req.path}`)
      },
      upgrade(req) {
        asked.push(req.path)
        const open = (stream: ConnectionDuplex): void => {
          if (req.path === '/throws') throw new Error('from open')
          stream.on('data', (bytes: Buffer) => stream.write(`<${bytes.toString()}>`))
          stream.on('end', () => stream.end('bye'))
        }
        switch (req.path) {
          case '/plain':
            return undefined
          case '/later':
            return new Promise((resolve) => setImmediate(() => resolve({ protocol: 'echo/1', open })))
          case '/later/plain':
            return new Promise((resolve) => setImmediate(() => resolve(undefined)))
          case '/other':
            return { protocol: 'other', open }
          case '/field':
            return { protocol: 'echo/1', headers: { 'Content-Length': '5' }, open }
          case '/nothing':
            return 5 as never
          default:
            return { protocol: 'echo/1', headers: { 'X-A': 'b' }, open }
        }
      },
    })
  })
  afterEach(async () => {
    await server.close()
    await new Promise((resolve) => setImmediate(resolve))
    expectNothingLeft(before)
  })

  const head = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo/1\r\nConnection: Upgrade\r\n'
  const text = ({ received }: Client): string => received.toString()

  for (const target of ['/', '/later']) {
    it(`gives the connection to the hook that accepts ${target}, with what has come behind the request`, async () => {
      const client = await Client.connect(server.port, { allowHalfOpen: true })
      client.write(`${ask(target, 'x, echo/1')}first`)
      await client.until((it) => text(it).includes('<first>'))
      client.write('second')
      await client.until((it) => text(it).includes('<second>'))
      client.socket.end()
      await client.untilClosed()
      expect(text(client)).to.equal(`${head}${target === '/' ? 'X-A: b\r\n' : ''}\r\n<first><second>bye`)
    })

    it(`comes behind the responses to the requests before ${target}`, async () => {
      const client = await Client.connect(server.port, { allowHalfOpen: true })
      client.write(`GET /held HTTP/1.1\r\nHost: a\r\n\r\n${ask(target)}first`)
      while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve))
      release()
      await client.until((it) => text(it).includes('<first>'))
      client.socket.end()
      await client.untilClosed()
      expect(text(client)).to.match(/^HTTP\/1\.1 200 OK\r\n[^<]*http \/heldHTTP\/1\.1 101 [^<]*\r\n\r\n<first>bye$/)
    })
  }

  it('is an ordinary request where the hook returns nothing, and the next one is read', async () => {
    for (const target of ['/plain', '/later/plain']) {
      const text = await server.exchange(`${ask(target)}GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      expect(text.match(/HTTP\/1.1 \d+|http \/(?:later\/)?(?:plain|next)/g), target).to.deep.equal([
        'HTTP/1.1 200',
        `http ${target}`,
        'HTTP/1.1 200',
        'http /next',
      ])
    }
  })

  it('is not asked for with content, in HTTP/1.0, or beside close', async () => {
    const last = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    expect(await server.exchange(`${ask('/', 'echo/1', 'Content-Length: 3\r\n')}abc${last}`)).to.match(/^HTTP\/1.1 200/)
    expect(await server.exchange(ask('/').replace('HTTP/1.1', 'HTTP/1.0'))).to.match(/^HTTP\/1.1 200/)
    expect(await server.exchange(ask('/').replace('Upgrade\r\n', 'Upgrade, close\r\n'))).to.match(/^HTTP\/1.1 200/)
    expect(asked).to.deep.equal([])
  })

  it('is 500 and reported when the hook accepts what it cannot, and the connection goes when open() throws', async () => {
    for (const target of ['/other', '/field', '/nothing']) {
      const text = await server.exchange(`${ask(target)}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      expect(text.match(/HTTP\/1.1 \d+/g), target).to.deep.equal(['HTTP/1.1 500', 'HTTP/1.1 200'])
    }
    expect(server.errors.map((error) => (error as NodeJS.ErrnoException).code)).to.deep.equal(Array(3).fill('ERR_MR_HTTP'))
    server.errors.length = 0
    const client = await Client.connect(server.port)
    client.write(ask('/throws'))
    await client.untilClosed()
    expect(server.errors).to.have.nested.property('[0].message', 'from open')
  })

  it('leaves the bound on fetch handlers to the requests that it does not want', async () => {
    let running = 0
    let most = 0
    const waiting: (() => void)[] = []
    const own = await HttpServer.start({
      async fetch() {
        most = Math.max(most, ++running)
        await new Promise<void>((resolve) => {
          waiting.push(resolve)
          setImmediate(() => waiting.shift()!())
        })
        running--
        return new Response('x')
      },
      upgrade: (req) => (req.path === '/later' ? Promise.resolve(undefined) : undefined),
    })
    for (const target of ['/', '/later']) {
      const last = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
      const answers = (await own.exchange(ask(target).repeat(32) + last)).match(/HTTP\/1.1 200/g)
      expect(answers, target).to.have.length(33)
    }
    await own.close()
    expect(most).to.be.at.most(4)
  })

  it('leaves nothing in AsyncLocalStorage to later requests, when it is not wanted', async () => {
    const storage = new AsyncLocalStorage<string>()
    const enters = async (req: { path: string }): Promise<void> => {
      storage.enterWith(req.path)
      if (req.path === '/later') await new Promise(setImmediate)
    }
    const other = await HttpServer.start({
      request: (_req, res) => void res.end(`<${storage.getStore()}>`),
      upgrade: async (req) => enters(req).then(() => undefined),
      websocket: { upgrade: async (req) => enters(req).then(() => false as const), message() {} },
    })
    const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n'
    for (const first of [ask('/now'), ask('/later'), ask('/now', 'websocket', key), ask('/later', 'websocket', key)]) {
      const client = await Client.connect(other.port)
      const plain = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
      client.write(`${first}${plain}${plain.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')}`)
      await client.untilClosed()
      const bodies = client.received.toString().match(/<[^>]*>/g)!
      expect(bodies.slice(-2), first).to.deep.equal(['<undefined>', '<undefined>'])
    }
    await other.close()
  })

  it('is not for the pool', () => {
    expect(() => httpApp({ run: 'pool', request: () => {}, upgrade: () => undefined })).to.throw('leave out')
  })
})
