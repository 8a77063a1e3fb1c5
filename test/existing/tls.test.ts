import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import { serve, type Server } from '@multireactor/core'
import { attach, type CloseReason, type Connection, lines, type ListenTls, raw, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

function pem(name: string): Buffer {
  return readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))
}
const ca = pem('ca')
const first: ListenTls = { cert: pem('first'), key: pem('first-key') }
const second: ListenTls = { cert: pem('second'), key: pem('second-key') }

async function connect(port: number, options: tls.ConnectionOptions = {}): Promise<Client & { socket: tls.TLSSocket }> {
  const socket = tls.connect({ port, host: '127.0.0.1', ca, servername: 'first.example', ...options })
  const client = new Client(socket) as Client & { socket: tls.TLSSocket }
  await Promise.race([new Promise<void>((resolve) => socket.once('secureConnect', resolve)), client.untilClosed()])
  return client
}

/** Counters change without an event. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
}

describe('tls', function () {
  // Threads start slowly where others need the cores.
  this.timeout(120_000)
  let before: ReturnType<typeof census>
  let server: Server | undefined
  const reactors: Reactor[] = []
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    await server?.[Symbol.asyncDispose]()
    server = undefined
    for (const reactor of reactors.splice(0)) await reactor[Symbol.asyncDispose]()
    // A reactor that is closed from within its turn ends with the turn.
    await new Promise((resolve) => setImmediate(resolve))
    expectNothingLeft(before)
  })
  function reactorOf(): Reactor {
    const reactor = new Reactor()
    reactors.push(reactor)
    return reactor
  }
  const start = async (name: string, threads: number, settings: ListenTls = first): Promise<number> => {
    server = await serve({
      app: app(name),
      listen: { port: 0, host: '127.0.0.1', name: 'secure', tls: settings },
      reactors: threads,
      pool: 2,
    })
    return server.listeners[0]!.port
  }

  it('gives message plaintext in frames, and says who the peer is before the first', async () => {
    const reactor = reactorOf()
    const opened: unknown[] = []
    let onClosed!: (reason: CloseReason) => void
    const closed = new Promise<CloseReason>((resolve) => {
      onClosed = resolve
    })
    const { port } = await reactor.listen<undefined>(
      { port: 0, host: '127.0.0.1', tls: { ...first, ALPNProtocols: ['lines/1', 'other'] } },
      {
        framing: lines(),
        open(conn: Connection<undefined>) {
          opened.push(conn.encrypted, conn.tls!.servername, conn.tls!.alpnProtocol, conn.tls!.getProtocol(), conn.remoteAddress)
          return undefined
        },
        message(conn, line) {
          if (line.toString() === 'quit') conn.end('bye\n')
          else conn.write(`<${line.toString()}>\n`)
        },
        close: (_conn, reason) => onClosed(reason),
      },
    )
    const client = await connect(port, { ALPNProtocols: ['other', 'lines/1'] })
    client.write('one\ntwo\nthr')
    await client.lines(2)
    client.write('ee\nquit\n')
    await client.untilClosed()
    expect(client.received.toString()).to.equal('<one>\n<two>\n<three>\nbye\n')
    // The goodbye of TLS came before FIN: otherwise an attacker could have cut the answer.
    expect([client.ended, client.error]).to.deep.equal([true, undefined])
    expect(opened).to.deep.equal([true, 'first.example', 'lines/1', 'TLSv1.3', '127.0.0.1'])
    expect(await closed).to.equal('end')
  })

  it('gives parse in the pool the same frames, and answers in order', async () => {
    const port = await start('tls-upper', 2)
    const words = Array.from({ length: 3000 }, (_, i) => `word${i}${'x'.repeat(i % 97)}`)
    const clients = await Promise.all([connect(port), connect(port), connect(port)])
    for (const client of clients) client.write(words.map((word, i) => `${word}${i % 500 === 0 ? ' 5' : ''}\n`).join(''))
    for (const client of clients) {
      const answers = await client.lines(words.length)
      expect(answers.every((answer, i) => answer === words[i]!.toUpperCase())).to.equal(true)
      client.socket.end()
      await client.untilClosed()
    }
    expect(server!.stats().connections.closed['tls-error']).to.equal(0)
  })

  it('carries large bytes both ways under backpressure, and closes who never reads', async () => {
    const reactor = reactorOf()
    const reasons: CloseReason[] = []
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1', tls: first },
      {
        framing: raw(),
        outBuffer: { high: 64 << 10, low: 16 << 10, max: 1 << 20 },
        message: (conn, bytes) => void conn.write(bytes),
        close: (_conn, reason) => void reasons.push(reason),
      },
    )
    const client = await connect(port)
    const sent = Buffer.alloc(2 << 20)
    for (let i = 0; i < sent.length; i += 4) sent.writeUInt32LE((i * 2654435761) >>> 0, i)
    client.write(sent)
    expect((await client.bytes(sent.length)).equals(sent)).to.equal(true)
    client.socket.end()
    await client.untilClosed()
    const { port: flood } = await reactor.listen(
      { port: 0, host: '127.0.0.1', tls: first },
      {
        outBuffer: { max: 1 << 20 },
        message(conn) {
          for (let i = 0; i < 200 && !conn.destroyed; i++) conn.write(Buffer.alloc(64 << 10))
        },
        close: (_conn, reason) => void reasons.push(reason),
      },
    )
    const deaf = await connect(flood)
    deaf.socket.pause()
    deaf.write('go')
    await until(() => reasons.length === 2)
    expect(reasons).to.deep.equal(['end', 'slow-consumer'])
    deaf.destroy()
  })

  it('chooses the certificate by name, and changes it without dropping a connection', async () => {
    const port = await start('tls-thread', 2, { ...first, contexts: { '*.second.test': second } })
    const subject = (client: { socket: tls.TLSSocket }) => client.socket.getPeerCertificate().subject.CN
    const lenient = { checkServerIdentity: () => undefined }
    const old = await connect(port)
    const other = await connect(port, { servername: 'www.second.test', ...lenient })
    expect([subject(old), subject(other)]).to.deep.equal(['first.example', 'second.example'])
    await server!.setTls('secure', second)
    const fresh = await connect(port, lenient)
    expect(subject(fresh)).to.equal('second.example')
    old.write('still here\n')
    expect((await old.lines(1))[0]).to.match(/still here$/)
    for (const client of [old, other, fresh]) client.destroy()
    const failure = await server!.setTls('secure', { cert: first.cert!, key: second.key! }).catch((error: unknown) => error)
    expect(failure).to.have.property('code', 'ERR_MR_TLS')
    expect(await server!.setTls('nobody', first).catch((error: unknown) => error)).to.have.property('code', 'ERR_MR_OPTION_RANGE')
  })

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`resumes a session of one reactor on another one, and after a change of certificates (${version})`, async () => {
      const port = await start('tls-thread', 2)
      const one = await connect(port, { maxVersion: version })
      let session: Buffer | undefined = version === 'TLSv1.2' ? one.socket.getSession() : undefined
      one.socket.on('session', (ticket) => {
        session = ticket
      })
      one.write('x\n')
      const [answer] = await one.lines(1)
      while (!session) await once(one.socket, 'session')
      one.destroy()
      const threads = new Set([answer!.split(' ')[0]])
      for (let i = 0; i < 100 && threads.size < 2; i++) {
        if (i === 1) await server!.setTls('secure', second)
        const again = await connect(port, { maxVersion: version, session, checkServerIdentity: () => undefined })
        expect(again.socket.isSessionReused()).to.equal(true)
        again.write('x\n')
        threads.add((await again.lines(1))[0]!.split(' ')[0])
        again.destroy()
      }
      expect(threads.size).to.equal(2)
    })
  }

  it('asks for client certificates, and refuses who has none', async () => {
    const reactor = reactorOf()
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1', tls: { ...first, ca, requestCert: true, maxVersion: 'TLSv1.2' } },
      { framing: lines(), message: (conn) => void conn.write(`${String(conn.tls!.getPeerCertificate().subject.CN)}\n`) },
    )
    const known = await connect(port, { cert: pem('client'), key: pem('client-key') })
    known.write('who am I\n')
    expect(await known.lines(1)).to.deep.equal(['client.example'])
    known.destroy()
    const stranger = await connect(port)
    await stranger.untilClosed()
    expect(stranger.received).to.have.length(0)
    expect(stranger.error, 'an alert').to.have.property('code').that.includes('ALERT_HANDSHAKE_FAILURE')
    await until(() => reactor.stats().closed['tls-error'] === 1)
  })

  it('closes as tls-error who does not speak TLS, and as a timeout who says nothing or half a record', async () => {
    const reactor = reactorOf()
    const listen = (limits: { firstByteTimeoutMs?: number; frameTimeoutMs?: number }) =>
      reactor.listen({ port: 0, host: '127.0.0.1', tls: first }, { ...limits, message: () => expect.fail('no frame was sent') })
    const { port } = await listen({ firstByteTimeoutMs: 200 })
    const closed = (reason: CloseReason) => until(() => reactor.stats().closed[reason] !== 0)
    const http1 = await Client.connect((await listen({})).port)
    http1.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await http1.untilClosed()
    await closed('tls-error')
    const silent = await Client.connect(port)
    silent.write(Buffer.from([22, 3, 1, 0]))
    await silent.untilClosed()
    await closed('first-byte-timeout')
    const { port: framed } = await listen({ frameTimeoutMs: 500 })
    const tunnel = net.connect(framed, '127.0.0.1')
    const slow = tls.connect({ socket: tunnel, ca, servername: 'first.example' })
    slow.on('error', () => {})
    await once(slow, 'secureConnect')
    tunnel.write(Buffer.from([23, 3, 3, 1, 0, 1]))
    await closed('frame-timeout')
    slow.destroy()
    tunnel.destroy()
  })

  it('reads a PROXY header in front of the handshake, whole or with it', async () => {
    const reactor = reactorOf()
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1', tls: first, proxyProtocol: { from: ['127.0.0.1'] } },
      {
        framing: lines(),
        message: (conn, line) => void conn.write(`${conn.remoteAddress}:${conn.remotePort} ${line.toString()}\n`),
      },
    )
    const tunnel = net.connect(port, '127.0.0.1')
    await once(tunnel, 'connect')
    // Corked: header and ClientHello leave in one piece.
    tunnel.cork()
    tunnel.write('PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n')
    const client = new Client(tls.connect({ socket: tunnel, ca, servername: 'first.example' }))
    setImmediate(() => tunnel.uncork())
    client.write('hi\n')
    expect(await client.lines(1)).to.deep.equal(['192.0.2.7:4711 hi'])
    client.destroy()
    tunnel.destroy()
  })

  /** A client with one answer, whose next frame a worker has begun. */
  const withOneInPool = async (port: number) => {
    const client = await connect(port)
    client.write('first\n')
    await client.lines(1)
    client.write('slow 200\n')
    await until(() => server!.stats().workers.reduce((sum, worker) => sum + worker.framesStarted, 0) === 2)
    return client
  }

  it('answers what is in the pool before it closes, with a goodbye', async () => {
    const port = await start('tls-upper', 1)
    const client = await withOneInPool(port)
    const closed = server!.close()
    await client.untilClosed()
    expect(client.received.toString()).to.equal('FIRST\nSLOW\n')
    expect([client.ended, client.error]).to.deep.equal([true, undefined])
    expect((await closed).destroyed).to.equal(0)
  })

  it('a reload answers what is in the pool, then ends the connection; fresh ones are served by the new thread', async () => {
    const port = await start('tls-upper', 1)
    const client = await withOneInPool(port)
    await server!.reload()
    await client.untilClosed()
    expect(client.received.toString()).to.equal('FIRST\nSLOW\n')
    const fresh = await connect(port)
    fresh.write('again\n')
    expect(await fresh.lines(1)).to.deep.equal(['AGAIN'])
    fresh.destroy()
    expect(server!.stats().connections.closed['thread-lost']).to.equal(0)
  })

  /** A client whose handshake stops in the middle, until `release()`. */
  const connectHalf = async (port: number) => {
    const inner = net.connect({ port, host: '127.0.0.1' })
    const held: Buffer[] = []
    let released = false
    const between = new Duplex({
      read() {},
      write: (chunk, _encoding, done) => void inner.write(chunk, () => done()),
      final: (done) => void inner.end(() => done()),
      destroy: (error, done) => {
        inner.destroy()
        done(error)
      },
    })
    inner.on('data', (bytes) => (released ? void between.push(bytes) : void held.push(bytes)))
    inner.on('end', () => between.push(null))
    inner.on('error', (error) => between.destroy(error))
    const socket = tls.connect({ socket: between, ca, servername: 'first.example' })
    const client = new Client(socket)
    await once(inner, 'data')
    const release = (): void => {
      released = true
      for (const bytes of held.splice(0)) between.push(bytes)
    }
    const untilEnded = async (): Promise<void> => {
      await client.until(({ ended, closed }) => ended || closed)
      client.destroy() // a TLSSocket over a stream does not close with it
      await client.untilClosed()
    }
    return { client, release, untilEnded }
  }

  for (const [name, leave] of [
    ['reload', () => server!.reload()],
    ['resize', () => server!.resize({ reactors: 1 })],
  ] as const) {
    it(`a ${name} answers who is in the middle of the handshake, or has not asked yet`, async () => {
      const port = await start('tls-upper', name === 'reload' ? 1 : 2)
      const here = async <T>(make: () => Promise<T>, end: (made: T) => void): Promise<T> => {
        // The last reactor is the one that leaves.
        for (;;) {
          const last = (): number => server!.stats().reactors.at(-1)!.accepted
          const before = last()
          const made = await make()
          if (last() > before) return made
          end(made)
        }
      }
      const idle = await here(
        () => connect(port),
        (client) => client.destroy(),
      )
      idle.write('idle\n')
      await idle.lines(1)
      const quiet = await here(
        () => connect(port),
        (client) => client.destroy(),
      )
      const half = await here(
        () => connectHalf(port),
        ({ client }) => client.destroy(),
      )
      const left = leave()
      await idle.untilClosed()
      quiet.write('first\n')
      half.release()
      half.client.write('second\n')
      await Promise.all([quiet.untilClosed(), half.untilEnded()])
      expect([quiet.received.toString(), half.client.received.toString()]).to.deep.equal(['FIRST\n', 'SECOND\n'])
      expect([quiet.error, half.client.error]).to.deep.equal([undefined, undefined])
      await left
      expect(server!.stats().connections.closed['thread-lost']).to.equal(0)
    })
  }

  it('a reload answers who has just connected to an existing server behind it', async () => {
    server = await serve({
      app: app('existing-http'),
      listen: { port: 0, host: '127.0.0.1', name: 'secure', tls: first },
      reactors: 1,
    })
    const { port } = server.listeners[0]!
    const ask = 'GET /thread HTTP/1.1\r\nHost: x\r\n\r\n'
    const answer = ({ received }: Client): string | undefined => received.toString().split('\r\n\r\n')[1]
    const idle = await connect(port)
    idle.write(ask)
    await idle.until((client) => Boolean(answer(client)))
    const thread = answer(idle)
    const quiet = await connect(port)
    const half = await connectHalf(port)
    const left = server.reload()
    // The old thread has heard of it when its answers are the last ones of their connections.
    for (let asked = 2; !idle.received.includes('Connection: close'); asked++) {
      idle.write(ask)
      await idle.until(({ received }) => received.toString().split('HTTP/1.1').length > asked)
    }
    quiet.write(ask)
    half.release()
    half.client.write(ask)
    await Promise.all([quiet.untilClosed(), half.untilEnded()])
    expect([answer(quiet), answer(half.client)]).to.deep.equal([thread, thread])
    await left
    expect(server.stats().connections.closed['thread-lost']).to.equal(0)
  })

  it('a reload ends in time who has connected to an existing server behind it and asks nothing', async () => {
    server = await serve({
      app: app('existing-http'),
      listen: { port: 0, host: '127.0.0.1', name: 'secure', tls: first },
      reactors: 1,
    })
    const silent = await connect(server.listeners[0]!.port)
    await until(() => server!.stats().connections.open === 1)
    await server.reload({ timeoutMs: 4_000 })
    await silent.untilClosed()
    expect(server.stats().connections.closed['thread-lost']).to.equal(0)
  })

  it('gives the peer of an existing server what was written before destroy(), as node:https does', async () => {
    const handler: http.RequestListener = (request, response) => {
      response.end('x'.repeat(Number(request.url!.slice(1))))
      request.socket.destroy()
    }
    const { port } = await reactorOf().listen({ port: 0, host: '127.0.0.1', tls: first }, attach(http.createServer(handler)))
    const own = https.createServer({ cert: pem('first'), key: pem('first-key') }, handler).listen(0, '127.0.0.1')
    await once(own, 'listening')
    for (const size of [1, 60_000]) {
      for (const at of [(own.address() as net.AddressInfo).port, port]) {
        const client = await connect(at)
        client.write(`GET /${size} HTTP/1.1\r\nHost: x\r\n\r\n`)
        await client.untilClosed()
        expect(client.received.toString().split('\r\n\r\n')[1]?.length).to.equal(size)
      }
    }
    own.close()
    await once(own, 'close')
  })

  it('runs node:http behind it, and https on a plain listener, with addresses', async () => {
    const handler: http.RequestListener = (request, response) => {
      const { encrypted, remoteAddress, localPort } = request.socket as tls.TLSSocket
      if (request.method === 'POST') return void request.pipe(response)
      response.end(JSON.stringify([encrypted, remoteAddress, localPort]))
    }
    const reactor = reactorOf()
    const inside = await reactor.listen({ port: 0, host: '127.0.0.1', tls: first }, attach(http.createServer(handler)))
    const outside = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      attach(https.createServer({ cert: pem('first'), key: pem('first-key') }, handler)),
    )
    const agent = new https.Agent({ ca, keepAlive: true, servername: 'first.example' })
    for (const { port } of [inside, outside]) {
      const ask = async (method: string, body?: Buffer): Promise<Buffer> => {
        const request = https.request({ port, host: '127.0.0.1', agent, method }).end(body)
        const [response] = (await once(request, 'response')) as [http.IncomingMessage]
        return Buffer.concat(await response.toArray())
      }
      expect(JSON.parse((await ask('GET')).toString())).to.deep.equal([true, '127.0.0.1', port])
      const body = Buffer.alloc(3 << 20, 'abcdefg')
      expect((await ask('POST', body)).equals(body)).to.equal(true)
    }
    agent.destroy()
  })

  it('keeps a connection where its keys are: it is neither piped nor moved', async () => {
    const reactor = reactorOf()
    const codes: unknown[] = []
    const codeOf = (deed: () => void): unknown => {
      try {
        deed()
        return undefined
      } catch (error) {
        return (error as NodeJS.ErrnoException).code
      }
    }
    let known: Connection<undefined> | undefined
    const clients: Client[] = []
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1', tls: first },
      {
        framing: lines(),
        message(conn) {
          const other = known
          known ??= conn
          if (other) codes.push(codeOf(() => conn.pipe(other)))
          codes.push(codeOf(() => conn.moveTo(0)))
          conn.write('asked\n')
        },
      },
    )
    for (const client of [await connect(port), await connect(port)]) {
      client.write('x\n')
      await client.lines(1)
      clients.push(client)
    }
    expect(codes).to.deep.equal(['ERR_MR_STATE', 'ERR_MR_STATE', 'ERR_MR_STATE'])
    for (const client of clients.splice(0)) client.destroy()
  })

  it('refuses what cannot work before it listens', async () => {
    const reactor = reactorOf()
    const code = async (settings: unknown): Promise<unknown> => {
      const failed = await reactor
        .listen({ port: 0, tls: settings as ListenTls }, { message() {} })
        .catch((error: NodeJS.ErrnoException) => error)
      return (failed as NodeJS.ErrnoException).code
    }
    expect(await code({})).to.equal('ERR_MR_OPTION_TYPE')
    expect(await code({ cert: pem('first'), key: pem('second-key') })).to.equal('ERR_MR_TLS')
    expect(await code({ cert: 'first.pem', key: 'first-key.pem' })).to.equal('ERR_MR_TLS')
    expect(await code({ ...first, certs: 1 })).to.equal('ERR_MR_UNKNOWN_OPTION')
    expect(await code({ ...first, ticketKeys: Buffer.alloc(16) })).to.equal('ERR_MR_OPTION_RANGE')
    expect(await code({ ...first, ALPNProtocols: 'h2' })).to.equal('ERR_MR_OPTION_TYPE')
    const failed = await serve({
      app: app('tls-thread'),
      listen: { port: 0, tls: { ...first, SNICallback: () => {} } },
    }).catch((error: NodeJS.ErrnoException) => error)
    expect((failed as NodeJS.ErrnoException).code).to.equal('ERR_MR_OPTION_TYPE')
  })
})
