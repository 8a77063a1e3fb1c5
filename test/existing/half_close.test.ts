import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import { attach, type CloseReason, type Connection, lines, type ListenTls, raw, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'

const pem = (name: string): Buffer => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))
const own: ListenTls = { cert: pem('first'), key: pem('first-key') }
const large = Buffer.alloc(1 << 20, 'abcdefgh')

/** A socket whose bytes of a turn leave in one send; the last of them together with FIN, when it is asked to join them. */
class Joined extends Duplex {
  readonly socket: net.Socket
  joins = false
  finishes = true
  #held: Buffer[] = []

  constructor(port: number) {
    super({ allowHalfOpen: true })
    this.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    this.socket.on('data', (bytes) => this.push(bytes))
    this.socket.on('end', () => this.push(null))
    this.socket.on('error', () => {})
  }
  override _read(): void {}
  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.joins) this.#held.push(bytes)
    else this.socket.write(bytes)
    done()
  }
  override _final(done: () => void): void {
    if (this.finishes) this.socket.end(Buffer.concat(this.#held))
    done()
  }
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.socket.destroy()
    done(error)
  }
}

/** Sends text, close_notify and FIN, and reads to the end: all bytes, and whether the end was an orderly one. */
async function askAndEnd(port: number, text: string, joins: boolean, maxVersion: tls.SecureVersion): Promise<Buffer> {
  const below = new Joined(port)
  // Its types do not know that it is half open as the stream below is.
  const socket = tls.connect({ socket: below, ca: pem('ca'), servername: 'first.example', maxVersion })
  try {
    await once(socket, 'secureConnect')
    below.joins = joins
    socket.end(text)
    const parts: Buffer[] = []
    for await (const part of socket) parts.push(part as Buffer)
    return Buffer.concat(parts)
  } finally {
    socket.destroy()
    below.destroy()
  }
}

describe('half-close under tls', function () {
  this.timeout(60_000)
  let before: ReturnType<typeof census>
  const reactors: Reactor[] = []
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    for (const reactor of reactors.splice(0)) await reactor.close({ timeoutMs: 0 })
    await new Promise((resolve) => setImmediate(resolve))
    expectNothingLeft(before)
  })
  function reactorOf(): Reactor {
    const reactor = new Reactor()
    reactors.push(reactor)
    return reactor
  }

  const answer: http.RequestListener = (request, response) => {
    request.resume().on('end', () => response.end(request.url === '/large' ? large : 'small'))
  }
  // Whose TLS it is: the listener's, or the server's own over a plain stream.
  const kinds = {
    'http behind a tls listener': { listener: own, make: () => http.createServer(answer) },
    'https on a plain listener': {
      listener: undefined,
      make: () => https.createServer({ ...(own as https.ServerOptions) }, answer),
    },
  }
  for (const [kind, { listener, make }] of Object.entries(kinds)) {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      for (const joins of [false, true]) {
        it(`${kind} answers a request with goodbye and FIN ${joins ? 'in one piece' : 'behind it'} (${version})`, async () => {
          const reasons: CloseReason[] = []
          const { port } = await reactorOf().listen(
            { port: 0, host: '127.0.0.1', ...(listener && { tls: listener }) },
            { ...attach(make()), close: (_conn: unknown, reason: CloseReason) => void reasons.push(reason) },
          )
          const asked = Array.from({ length: 12 }, (_, i) => (i < 2 ? '/large' : '/'))
          const answers = await Promise.all(
            asked.map((path) => askAndEnd(port, `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`, joins, version)),
          )
          for (const [i, all] of answers.entries()) {
            const body = all.subarray(all.indexOf('\r\n\r\n') + 4)
            expect(body.equals(i < 2 ? large : Buffer.from('small')), `${asked[i]}: ${all.length} bytes`).to.equal(true)
          }
          while (reasons.length < asked.length) await new Promise((resolve) => setImmediate(resolve))
          expect(new Set(reasons)).to.deep.equal(new Set(['end']))
        })
      }
    }
  }

  it('end comes behind the last message, also where messages wait for those before them', async () => {
    const counts = { message: 0, atEnd: -1 }
    const { port } = await reactorOf().listen<undefined>(
      { port: 0, host: '127.0.0.1', tls: own },
      {
        framing: lines(),
        maxPendingMessages: 1,
        async message(conn: Connection<undefined>, line) {
          await new Promise((resolve) => setImmediate(resolve))
          counts.message++
          conn.write(`${line.toString()}\n`)
        },
        end: () => {
          counts.atEnd = counts.message
        },
      },
    )
    const text = Array.from({ length: 100 }, (_, i) => `line ${i}\n`).join('')
    expect((await askAndEnd(port, text, true, 'TLSv1.3')).toString()).to.equal(text)
    expect(counts).to.deep.equal({ message: 100, atEnd: 100 })
  })

  const echo = async (reasons: CloseReason[]): Promise<number> => {
    const { port } = await reactorOf().listen(
      { port: 0, host: '127.0.0.1', tls: own },
      {
        framing: lines(),
        message: (conn, line) => void conn.write(`${line.toString()}\n`),
        close: (_conn, why) => void reasons.push(why),
      },
    )
    return port
  }
  const closed = async (reasons: CloseReason[]): Promise<CloseReason> => {
    while (reasons.length === 0) await new Promise((resolve) => setImmediate(resolve))
    return reasons[0]!
  }

  it('a goodbye without FIN, and FIN without a goodbye, end a connection behind its replies', async () => {
    for (const ends of ['goodbye', 'fin']) {
      const reasons: CloseReason[] = []
      const below = new Joined(await echo(reasons))
      const socket = tls.connect({ socket: below, ca: pem('ca'), servername: 'first.example' })
      await once(socket, 'secureConnect')
      let received = ''
      socket.on('data', (part: Buffer) => {
        received += part.toString()
      })
      const text = Array.from({ length: 2000 }, (_, i) => `line ${i}\n`).join('')
      const ended = once(socket, 'end')
      below.finishes = false
      if (ends === 'goodbye') socket.end(text)
      else socket.write(text, () => below.socket.end())
      await ended
      expect([ends, received === text, await closed(reasons)]).to.deep.equal([ends, true, 'end'])
      socket.destroy()
      below.destroy()
    }
  })

  it('a peer that asks for new handshakes again and again is closed as tls-error, and its first ones are answered', async () => {
    const reasons: CloseReason[] = []
    const socket = tls.connect({
      port: await echo(reasons),
      host: '127.0.0.1',
      ca: pem('ca'),
      servername: 'first.example',
      maxVersion: 'TLSv1.2',
    })
    socket.on('error', () => {}).setMaxListeners(0)
    await once(socket, 'secureConnect')
    let done = 0
    while (!socket.destroyed && done < 20) {
      const failed = await new Promise<Error | null>((resolve) => {
        socket.once('close', () => resolve(new Error('closed')))
        if (socket.renegotiate({}, resolve) === false) resolve(new Error('refused'))
      })
      if (failed) break
      done++
      socket.write(`${done}\n`)
      const [answer] = (await once(socket, 'data')) as [Buffer]
      expect(answer.toString()).to.equal(`${done}\n`)
    }
    expect(done).to.equal(tls.CLIENT_RENEG_LIMIT)
    expect(await closed(reasons)).to.equal('tls-error')
    socket.destroy()
  })

  it('a stream that is not read has its end behind what it is owed', async () => {
    let made!: (stream: Duplex) => void
    const stream = new Promise<Duplex>((resolve) => {
      made = resolve
    })
    const { port } = await reactorOf().listen(
      { port: 0, host: '127.0.0.1', tls: own },
      { framing: raw(), open: (conn) => void made(conn.toDuplex({ allowHalfOpen: true })), message() {} },
    )
    const sent = 'x'.repeat(1 << 20)
    const answer = askAndEnd(port, sent, false, 'TLSv1.3')
    const reader = await stream
    await once(reader, 'readable')
    for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve))
    let bytes = 0
    reader.on('data', (part: Buffer) => {
      bytes += part.length
    })
    await once(reader, 'end')
    expect(bytes).to.equal(sent.length)
    reader.end('all of it')
    expect((await answer).toString()).to.equal('all of it')
  })
})
