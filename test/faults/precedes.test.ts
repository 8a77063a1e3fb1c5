import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import { type Server, serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { closedAs } from '../support/closed.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const pem = (name: string) => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url), 'utf8')
const logger = { debug() {}, info() {}, warn() {}, error() {} }

describe('what precedes a failure', function () {
  this.timeout(60_000) // threads die and are replaced, on machines that are busy with other things
  let server: Server
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    await server.close({ timeoutMs: 500 })
    expectNothingLeft(before)
  })

  async function start(secure: boolean, name = 'failing-lines'): Promise<void> {
    const listen = { port: 0, host: '127.0.0.1', ...(secure ? { tls: { cert: pem('first'), key: pem('first-key') } } : {}) }
    server = await serve({ app: app(name), listen, reactors: 1, pool: 1, logger })
    server.on('error', () => {})
    server.on('reactorReplaced', () => {})
  }

  /** All that comes until the server closes. `readsLate`: not before it has all been sent. */
  async function ask(secure: boolean, text: string): Promise<string> {
    const where = { port: server.listeners[0]!.port!, host: '127.0.0.1' }
    const socket = secure ? tls.connect({ ...where, rejectUnauthorized: false }) : net.connect(where)
    let received = ''
    socket.on('error', () => {})
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => {
      received += chunk
    })
    await once(socket, secure ? 'secureConnect' : 'connect')
    const closed = once(socket, 'close')
    socket.write(text)
    await closed
    return received
  }

  const five = 'a\nb\nc\nd\ne\n'
  for (const secure of [false, true]) {
    const over = secure ? 'over TLS' : 'in plaintext'
    for (const [word, more, reason] of [
      ['throw', '', 'handler-error'],
      ['reject', '', 'handler-error'],
      ['rejectLater', '', 'handler-error'],
      ['deferAndThrow', '', 'handler-error'],
      ['writeAndThrow', 'written\n', 'handler-error'],
      ['bad', '', 'parse-error'],
      ['destroy', '', 'destroyed'],
    ] as const) {
      it(`${word}: the replies to the five lines before leave, ${over}`, async () => {
        await start(secure)
        expect(await ask(secure, `${five}${word}\n`)).to.equal(five + more)
        await closedAs(server, reason, 1)
      })
    }

    it(`what the pool still owes to lines before leaves first, ${over}`, async () => {
      await start(secure)
      expect(await ask(secure, `a\nslow 1\nslow 2\nthrow\nslow 3\nb\n`)).to.equal('a\nslow 1\nslow 2\n')
      expect(await ask(secure, `slow 1\nb\nslow 2\nreject\n`)).to.equal('slow 1\nb\nslow 2\n')
      expect(await ask(secure, `slow 1\nb\nbad\nslow 2\n`)).to.equal('slow 1\nb\n')
      await closedAs(server, 'parse-error', 1)
    })

    it(`the response before one that fails when it has begun, ${over}`, async () => {
      await start(secure, 'failing-stream')
      const whole = 'GET /whole HTTP/1.1\r\nHost: a\r\n\r\n'
      const chunked = await ask(secure, `${whole}GET / HTTP/1.1\r\nHost: a\r\n\r\n`)
      expect(chunked).to.match(/\r\n\r\nwholeHTTP\/1.1 200 OK\r\n.*\r\n\r\n5\r\nbegun\r\n$/s)
      await closedAs(server, 'handler-error', 1)
      // Its end would be that of the connection: that must not be an orderly one.
      const untold = await ask(secure, `${whole}GET / HTTP/1.0\r\nHost: a\r\n\r\n`)
      expect(untold).to.match(/\r\n\r\nwholeHTTP\/1.1 200 OK\r\n.*\r\n\r\nbegun$/s)
      await closedAs(server, 'destroyed', 1)
    })

    it(`large replies leave as the peer reads them, ${over}`, async () => {
      await start(secure)
      const large = 12 << 20
      expect((await ask(secure, `large ${large}\nthrow\n`)).length).to.equal(large)
      expect((await ask(secure, `large ${large}\nbad\n`)).length).to.equal(large)
    })
  }

  it('a deferred reply to a line before leaves first', async () => {
    await start(false)
    const socket = net.connect({ port: server.listeners[0]!.port!, host: '127.0.0.1' })
    let received = ''
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString()
    })
    await once(socket, 'connect')
    const closed = once(socket, 'close')
    socket.write('held\na\nthrow\n')
    const other = net.connect({ port: server.listeners[0]!.port!, host: '127.0.0.1' })
    await once(other, 'connect')
    while (server.stats().reactors[0]!.framesRead < 3) await new Promise((resolve) => setImmediate(resolve))
    expect(received).to.equal('')
    other.end('free\n')
    await closed
    expect(received).to.equal('held\na\n')
    await closedAs(server, 'handler-error', 1)
  })

  for (const word of ['exit', 'fall'] as const) {
    it(`${word}: the thread ends, and what was answered before leaves, to others as well`, async () => {
      await start(false)
      const others = Array.from({ length: 4 }, () => net.connect({ port: server.listeners[0]!.port!, host: '127.0.0.1' }))
      await Promise.all(others.map((socket) => once(socket, 'connect')))
      const answers = others.map(async (socket) => String((await once(socket, 'data'))[0]))
      for (const socket of others) socket.write('hello\n')
      const received = ask(false, `${five}${word}\n${word === 'fall' ? 'exit\n' : ''}`)
      expect(await received).to.equal(five)
      expect(await Promise.all(answers)).to.deep.equal(['hello\n', 'hello\n', 'hello\n', 'hello\n'])
      for (const socket of others) socket.destroy()
    })
  }
})
