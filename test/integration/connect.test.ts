import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve } from '@multireactor/core'
import { type ClientHandlers, type Connection, lines, type MultireactorError, Reactor, raw } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

/** The error of a rejected promise. */
async function rejection(promise: Promise<unknown>): Promise<MultireactorError & { cause: NodeJS.ErrnoException }> {
  try {
    await promise
  } catch (error) {
    return error as MultireactorError & { cause: NodeJS.ErrnoException }
  }
  throw new Error('it did not reject')
}

/** A server of Node's own, which remembers its connections. */
class Upstream {
  readonly sockets: net.Socket[] = []
  readonly server: net.Server

  constructor(onSocket: (socket: net.Socket) => void = () => {}) {
    this.server = net.createServer({ allowHalfOpen: true }, (socket) => {
      this.sockets.push(socket)
      socket.on('error', () => {})
      onSocket(socket)
    })
  }
  static async listen(onSocket?: (socket: net.Socket) => void, where: net.ListenOptions = { port: 0, host: '127.0.0.1' }) {
    const upstream = new Upstream(onSocket)
    upstream.server.listen(where)
    await once(upstream.server, 'listening')
    return upstream
  }
  get port(): number {
    return (this.server.address() as net.AddressInfo).port
  }
  async accepted(count = 1): Promise<net.Socket> {
    while (this.sockets.length < count) await once(this.server, 'connection')
    return this.sockets[count - 1]!
  }
  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    this.server.close()
    await once(this.server, 'close')
  }
}

/** A port without a listener. */
async function closedPort(): Promise<number> {
  const upstream = await Upstream.listen()
  const { port } = upstream
  await upstream.close()
  return port
}

describe('a client connection', () => {
  const before = census()
  let reactor: Reactor
  const errors: unknown[] = []

  beforeEach(() => {
    errors.length = 0
    reactor = new Reactor({ onError: (error) => void errors.push(error) })
  })
  afterEach(async () => {
    await reactor[Symbol.asyncDispose]()
    await new Promise(setImmediate) // the turn that told of the end has ended
    expectNothingLeft(before)
  })

  it('has the hooks, the framing and the words of every connection', async () => {
    const upstream = await Upstream.listen((socket) => socket.write('hello\nyou\n'))
    const seen: string[] = []
    let closed!: (reason: string) => void
    const reason = new Promise<string>((resolve) => {
      closed = resolve
    })
    let greeted!: () => void
    const greeting = new Promise<void>((resolve) => {
      greeted = resolve
    })
    const conn = await reactor.connect<{ count: number }>(
      { port: upstream.port, host: '127.0.0.1' },
      {
        framing: lines(),
        open: () => ({ count: 0 }),
        message(self, line) {
          seen.push(`${++self.data.count} ${line}`)
          if (seen.length === 2) greeted()
        },
        close: (_, why) => closed(why),
      },
    )
    await greeting
    expect(seen).to.deep.equal(['1 hello', '2 you'])
    const socket = await upstream.accepted()
    expect([conn.remoteAddress, conn.remotePort, conn.remoteFamily]).to.deep.equal(['127.0.0.1', upstream.port, 'IPv4'])
    expect([conn.localAddress, conn.localPort]).to.deep.equal(['127.0.0.1', socket.remotePort])
    expect(conn.listener).to.equal(`127.0.0.1:${upstream.port}`)
    expect(conn.reactor.index).to.equal(0)
    const far = new Client(socket)
    conn.end('bye\n')
    expect(await far.lines(1)).to.deep.equal(['bye'])
    await far.until(({ ended }) => ended)
    socket.end()
    expect(await reason).to.equal('end')
    expect(reactor.stats()).to.include({ open: 0, accepted: 0, connecting: 0, connected: 1, connectFailures: 0, bytesWritten: 4 })
    await upstream.close()
    expect(errors).to.deep.equal([])
  })

  it('reaches a Unix path, and names that node:dns resolves', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multireactor-'))
    const path = join(folder, 'socket')
    const upstream = await Upstream.listen(undefined, { path })
    const conn = await reactor.connect({ path })
    expect([conn.listener, conn.remoteAddress]).to.deep.equal([path, undefined])
    await upstream.close()
    rmSync(folder, { recursive: true })

    // 'localhost' may be ::1 first, which has no listener: the next address is tried.
    const named = await Upstream.listen()
    const other = await reactor.connect({ port: named.port })
    expect(other.listener).to.equal(`localhost:${named.port}`)
    expect(other.remotePort).to.equal(named.port)
    const v4 = await reactor.connect({ port: named.port, family: 4, name: 'upstream' })
    expect([v4.listener, v4.remoteAddress]).to.deep.equal(['upstream', '127.0.0.1'])
    await named.close()
  })

  it('connects over IPv6, and from an address of its own', async () => {
    const six = await Upstream.listen(undefined, { port: 0, host: '::1' })
    const conn = await reactor.connect({ port: six.port, host: '::1' })
    expect([conn.remoteAddress, conn.remoteFamily, conn.listener]).to.deep.equal(['::1', 'IPv6', `[::1]:${six.port}`])
    await six.close()

    const four = await Upstream.listen()
    const from = await reactor.connect({ port: four.port, host: '127.0.0.1', localAddress: '127.0.0.5' })
    expect(from.localAddress).to.equal('127.0.0.5')
    expect((await four.accepted()).remoteAddress).to.equal('127.0.0.5')
    const port = await closedPort()
    const fixed = await reactor.connect({ port: four.port, host: '127.0.0.1', localPort: port })
    expect(fixed.localPort).to.equal(port)
    await four.close()
  })

  it('rejects with ERR_MR_CONNECT and the code of the system', async () => {
    const port = await closedPort()
    const refused = await rejection(reactor.connect({ port, host: '127.0.0.1' }))
    expect(refused).to.include({ code: 'ERR_MR_CONNECT' })
    expect(refused.cause).to.include({ code: 'ECONNREFUSED', syscall: 'connect', address: '127.0.0.1', port })
    expect(refused.message).to.equal(`connect ECONNREFUSED 127.0.0.1:${port}: no server listens there`)

    const missing = await rejection(reactor.connect({ path: '/nowhere/at/all' }))
    expect([missing.code, missing.cause.code]).to.deep.equal(['ERR_MR_CONNECT', 'ENOENT'])

    const strange = await rejection(reactor.connect({ port, host: '127.0.0.1', localAddress: '192.0.2.1' }))
    expect([strange.code, strange.cause.code]).to.deep.equal(['ERR_MR_CONNECT', 'EADDRNOTAVAIL'])

    const nameless = await rejection(reactor.connect({ port, host: 'no-such-name.invalid' }))
    expect(nameless.code).to.equal('ERR_MR_CONNECT')
    expect(nameless.cause.code).to.be.oneOf(['ENOTFOUND', 'EAI_AGAIN'])
    expect(reactor.stats()).to.include({ connecting: 0, connected: 0, open: 0, connectFailures: 3 })
  })

  /** Its queue is full, so the kernel answers no handshake. */
  async function deaf(): Promise<{ port: number; close(): Promise<void> }> {
    const upstream = new Upstream()
    upstream.server.listen({ port: 0, host: '127.0.0.1', backlog: 1 })
    await once(upstream.server, 'listening')
    // Node accepts at once; a listening socket without accepts has to come from another program.
    const { port } = upstream
    await upstream.close()
    const child = (await import('node:child_process')).spawn(
      'python3',
      [
        '-c',
        `import socket,sys
s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.bind(('127.0.0.1',${port})); s.listen(0)
full=[]
for _ in range(4):
  c=socket.socket(); c.setblocking(False); c.connect_ex(('127.0.0.1',${port})); full.append(c)
print('full',flush=True); sys.stdin.read()`,
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    )
    await once(child.stdout, 'data')
    return {
      port,
      close: async () => {
        child.stdin.end()
        await once(child, 'close')
      },
    }
  }

  it('gives up after timeoutMs, when its signal aborts, and when the reactor closes', async () => {
    const nobody = await deaf()
    const target = { port: nobody.port, host: '127.0.0.1' }
    const start = performance.now()
    const late = await rejection(reactor.connect(target, {}, { timeoutMs: 60 }))
    expect([late.code, late.cause.code]).to.deep.equal(['ERR_MR_CONNECT', 'ETIMEDOUT'])
    expect(performance.now() - start).to.be.at.least(59)

    const abort = new AbortController()
    const aborted = rejection(reactor.connect(target, {}, { signal: abort.signal }))
    await new Promise(setImmediate)
    expect(reactor.stats().connecting).to.equal(1)
    abort.abort(new Error('enough'))
    expect((await aborted).message).to.equal('enough')
    expect(reactor.stats().connecting).to.equal(0)
    expect((await rejection(reactor.connect(target, {}, { signal: abort.signal }))).message).to.equal('enough')

    const orphan = rejection(reactor.connect(target))
    await new Promise(setImmediate)
    await reactor.close()
    expect((await orphan).code).to.equal('ERR_MR_CLOSED')
    expect((await rejection(reactor.connect(target))).code).to.equal('ERR_MR_CLOSED')
    await nobody.close()
  })

  it('tries the addresses of a name in turn, and keeps the first that opens', async () => {
    // Both loopbacks have the name; only the one of IPv4 has a listener, wherever it stands in the order.
    const upstream = await Upstream.listen()
    const opened = await Promise.all(Array.from({ length: 20 }, () => reactor.connect({ port: upstream.port })))
    expect(new Set(opened.map(({ remotePort }) => remotePort))).to.deep.equal(new Set([upstream.port]))
    expect(reactor.stats()).to.include({ connected: 20, open: 20, connecting: 0 })
    await upstream.close()
  })

  it('is refused with its arguments, before anything is done', async () => {
    const wrong: [unknown, unknown, unknown, string, RegExp][] = [
      [{}, {}, {}, 'ERR_MR_OPTION_TYPE', /needs either a port \(1 to 65535\) or a path/],
      [{ port: 1, path: '/x' }, {}, {}, 'ERR_MR_OPTION_TYPE', /got both/],
      [{ port: 0 }, {}, {}, 'ERR_MR_OPTION_RANGE', /'port' must be a whole number from 1 to 65535/],
      [{ prot: 1 }, {}, {}, 'ERR_MR_UNKNOWN_OPTION', /did you mean 'port'/],
      [{ port: 1, family: 5 }, {}, {}, 'ERR_MR_OPTION_RANGE', /'family' must be 4 or 6/],
      [{ path: '/x', localPort: 7 }, {}, {}, 'ERR_MR_OPTION_TYPE', /are for ports/],
      [{ port: 1, localAddress: 'here' }, {}, {}, 'ERR_MR_OPTION_RANGE', /'localAddress' must be an address/],
      [{ port: 1, localAddress: '::1', family: 4 }, {}, {}, 'ERR_MR_OPTION_RANGE', /not of family 4/],
      [{ port: 1 }, { mesage() {} }, {}, 'ERR_MR_UNKNOWN_OPTION', /did you mean 'message'/],
      [{ port: 1 }, { close: 7 }, {}, 'ERR_MR_OPTION_TYPE', /'close' must be a function/],
      [{ port: 1 }, { idleTimeoutMs: -1 }, {}, 'ERR_MR_OPTION_RANGE', /'idleTimeoutMs'/],
      [{ port: 1 }, {}, { timeoutMs: 0 }, 'ERR_MR_OPTION_RANGE', /'timeoutMs' must be/],
      [{ port: 1 }, {}, { signal: 7 }, 'ERR_MR_OPTION_TYPE', /AbortSignal/],
    ]
    for (const [target, handlers, options, code, message] of wrong) {
      const error = await rejection(reactor.connect(target as never, handlers as never, options as never))
      expect(error.code, error.message).to.equal(code)
      expect(error.message).to.match(message)
    }
    expect(reactor.stats()).to.include({ connecting: 0, connected: 0, connectFailures: 0 })
  })

  it('cannot go to the pool or to another reactor', async () => {
    const upstream = await Upstream.listen()
    const conn = await reactor.connect({ port: upstream.port, host: '127.0.0.1' })
    expect(() => conn.submit('x'))
      .to.throw('has no parse')
      .with.property('code', 'ERR_MR_NO_POOL')
    expect(() => conn.moveTo(0))
      .to.throw('stays with the reactor')
      .with.property('code', 'ERR_MR_STATE')
    await upstream.close()
  })

  it('rejects when its open hook throws, and closes', async () => {
    const upstream = await Upstream.listen()
    const error = await rejection(
      reactor.connect(
        { port: upstream.port, host: '127.0.0.1' },
        {
          open() {
            throw new Error('not today')
          },
        },
      ),
    )
    expect([error.code, error.cause.message]).to.deep.equal(['ERR_MR_CONNECT', 'not today'])
    expect(errors.map(String)).to.deep.equal(['Error: not today'])
    await upstream.close()
  })

  it('closes as reset though nothing of it is read: without a message hook, and paused', async () => {
    const upstream = await Upstream.listen()
    const reasons: string[] = []
    const close = (_: Connection<unknown>, reason: string): void => void reasons.push(reason)
    const target = { port: upstream.port, host: '127.0.0.1' }
    await reactor.connect(target, { close })
    const paused = await reactor.connect(target, { message: () => {}, close })
    paused.pause()
    await upstream.accepted(2)
    for (const socket of upstream.sockets) socket.resetAndDestroy()
    while (reactor.stats().open > 0) await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setImmediate(resolve)) // the turn that counted it tells of it
    expect(reasons).to.deep.equal(['reset', 'reset'])
    await upstream.close()
  })

  it('has the time limits of every connection', async () => {
    const upstream = await Upstream.listen()
    const reasons: string[] = []
    let all!: () => void
    const done = new Promise<void>((resolve) => {
      all = resolve
    })
    const handlers = (more: ClientHandlers<undefined>): ClientHandlers<undefined> => ({
      message() {},
      close(_, reason) {
        if (reasons.push(reason) === 3) all()
      },
      ...more,
    })
    const target = { port: upstream.port, host: '127.0.0.1' }
    await reactor.connect(target, handlers({ idleTimeoutMs: 40 }))
    await reactor.connect(target, handlers({ firstByteTimeoutMs: 40 }))
    ;(await reactor.connect(target, handlers({}))).setTimeout(40)
    await done
    expect(reasons.sort()).to.deep.equal(['first-byte-timeout', 'idle-timeout', 'timeout'])
    await upstream.close()
  })

  it('stops reading when it is paused, and writes with drain', async () => {
    const upstream = await Upstream.listen()
    let drained!: () => void
    const drain = new Promise<void>((resolve) => {
      drained = resolve
    })
    const conn = await reactor.connect({ port: upstream.port, host: '127.0.0.1' }, { message() {}, drain: () => drained() })
    const socket = await upstream.accepted()
    expect(conn.write(Buffer.alloc(12 << 20))).to.equal(false)
    let bytes = 0
    socket.on('data', (chunk) => {
      bytes += chunk.length
    })
    await drain
    while (bytes < 12 << 20) await once(socket, 'data')
    await upstream.close()
  })
})

describe('piped connections', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  /** A reactor that pipes all connections to the upstream. */
  async function proxy(upstream: Upstream, reasons: string[] = []): Promise<{ reactor: Reactor; port: number }> {
    const reactor = new Reactor({ onError: (error) => reasons.push(String(error)) })
    const close = (conn: Connection<unknown>, reason: string) =>
      void reasons.push(`${conn.listener === 'up' ? 'up' : 'down'} ${reason}`)
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1', name: 'down' },
      {
        framing: raw(),
        async open(conn) {
          conn.pause()
          conn.pipe(await conn.reactor.connect({ port: upstream.port, host: '127.0.0.1', name: 'up' }, { close }))
        },
        message() {
          throw new Error('a piped byte came to a hook')
        },
        close,
      },
    )
    return { reactor, port }
  }

  it('carry 16 MiB each way at once, byte by byte the same', async function () {
    this.timeout(120_000)
    const size = 16 << 20
    const chunk = Buffer.alloc(1 << 20, 'the quick brown fox jumps over the lazy dog')
    const upstream = await Upstream.listen((socket) => void socket.pipe(socket))
    const { reactor, port } = await proxy(upstream)
    const socket = net.connect({ port, host: '127.0.0.1' })
    let bytes = 0
    let same = true
    socket.on('data', (data: Buffer) => {
      const at = bytes % chunk.length
      const head = data.subarray(0, chunk.length - at)
      same &&= head.equals(chunk.subarray(at, at + head.length))
      same &&= data.subarray(head.length).equals(chunk.subarray(0, data.length - head.length))
      bytes += data.length
    })
    for (let sent = 0; sent < size; sent += chunk.length) if (!socket.write(chunk)) await once(socket, 'drain')
    socket.end()
    await once(socket, 'close')
    expect([bytes, same]).to.deep.equal([size, true])
    expect(reactor.stats()).to.include({ piped: 1, framesRead: 0 })
    await reactor.close()
    await upstream.close()
  })

  it('pass on what the other has said before they were piped, half-close, and the end', async () => {
    const upstream = await Upstream.listen((socket) => {
      socket.write('banner\n')
      socket.on('end', () => socket.end('your end\n')).resume()
    })
    const reasons: string[] = []
    const { reactor, port } = await proxy(upstream, reasons)
    const client = await Client.connect(port, { allowHalfOpen: true })
    expect(await client.lines(1)).to.deep.equal(['banner'])
    client.socket.end('request\n')
    expect(await client.lines(2)).to.deep.equal(['banner', 'your end'])
    await client.untilClosed()
    await reactor.close()
    expect(reasons.sort()).to.deep.equal(['down end', 'up end'])
    await upstream.close()
  })

  it('pass on a reset as a reset', async () => {
    const upstream = await Upstream.listen()
    const reasons: string[] = []
    const { reactor, port } = await proxy(upstream, reasons)
    const client = await Client.connect(port)
    client.write('x')
    const socket = await upstream.accepted()
    await once(socket, 'data')
    socket.resetAndDestroy()
    await client.untilClosed()
    expect((client.error as NodeJS.ErrnoException).code).to.equal('ECONNRESET')
    await reactor.close()
    expect(reasons.sort()).to.deep.equal(['down reset', 'up reset'])
    await upstream.close()
  })

  it('refuse what makes no pair', async () => {
    const upstream = await Upstream.listen()
    await using one = new Reactor()
    await using two = new Reactor()
    const target = { port: upstream.port, host: '127.0.0.1' }
    const [a, b, c, other] = await Promise.all([
      one.connect(target),
      one.connect(target),
      one.connect(target),
      two.connect(target),
    ])
    expect(() => a.pipe({} as never))
      .to.throw('must be a connection')
      .with.property('code', 'ERR_MR_OPTION_TYPE')
    expect(() => a.pipe(other))
      .to.throw('the same reactor')
      .with.property('code', 'ERR_MR_WRONG_THREAD')
    expect(() => a.pipe(a))
      .to.throw('two connections')
      .with.property('code', 'ERR_MR_STATE')
    a.pipe(b)
    expect(() => c.pipe(a))
      .to.throw('not piped already')
      .with.property('code', 'ERR_MR_STATE')
    c.destroy()
    expect(c.pipe(b)).to.equal(false)
    await upstream.close()
  })
})

describe('client connections of a server', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('are made by conn.reactor and by the reactor of start, and pipes outlive a reload and a dead thread', async function () {
    this.timeout(120_000)
    const upstream = await Upstream.listen((socket) => void socket.pipe(socket))
    process.env['CONNECT_PORT'] = String(upstream.port)
    const server = await serve({ app: app('connect'), listen: { port: 0, host: '127.0.0.1' }, reactors: 2, pool: 0 })
    const { port } = server.listeners[0]!
    // One from the start of each reactor.
    await upstream.accepted(2)
    const tunnels = await Promise.all(Array.from({ length: 8 }, () => Client.connect(port)))
    for (const tunnel of tunnels) tunnel.write('tunnel\n')
    for (const tunnel of tunnels) await tunnel.lines(1)
    expect(upstream.sockets).to.have.length(10)

    await server.reload()
    for (const tunnel of tunnels) tunnel.write('reloaded\n')
    for (const tunnel of tunnels) expect((await tunnel.lines(2))[1]).to.equal('reloaded')

    const replaced = once(server as never, 'reactorReplaced')
    const killer = await Client.connect(port)
    killer.write('die\n')
    await replaced
    for (const tunnel of tunnels) tunnel.write('survived\n')
    for (const tunnel of tunnels) expect((await tunnel.lines(3))[2]).to.equal('survived')
    killer.destroy()

    // Closing waits for the tunnels.
    const closing = server.close({ timeoutMs: 10_000 })
    for (const tunnel of tunnels) tunnel.write('last\n')
    for (const tunnel of tunnels) await tunnel.lines(4)
    for (const tunnel of tunnels) tunnel.socket.end()
    expect((await closing).destroyed).to.equal(0)
    await upstream.close()
  })

  it('may be awaited in open: a reload waits for who is connecting, and close too', async function () {
    this.timeout(120_000)
    const upstream = await Upstream.listen((socket) => void socket.pipe(socket))
    process.env['CONNECT_PORT'] = String(upstream.port)
    const server = await serve({ app: app('connect-in-open'), listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool: 0 })
    const { port } = server.listeners[0]!
    const early = await Client.connect(port)
    early.write('early\n')
    await early.lines(1)
    // Fresh ones all the time, so that some of them are connecting when the reload comes, and when the server closes.
    const clients: Client[] = []
    const connectSome = async (count: number): Promise<void> => {
      const some = await Promise.all(Array.from({ length: count }, () => Client.connect(port)))
      for (const client of some) client.write('fresh\n')
      clients.push(...some)
    }
    const reloaded = server.reload()
    for (let i = 0; i < 5; i++) await connectSome(10)
    await reloaded
    await connectSome(10)
    early.write('late\n')
    expect(await early.lines(2)).to.deep.equal(['early', 'late'])
    const closing = server.close({ timeoutMs: 10_000 })
    for (const client of clients) await client.lines(1)
    for (const client of [...clients, early]) client.socket.end()
    expect((await closing).destroyed).to.equal(0)
    await upstream.close()
  })

  it('count to limits.connections', async () => {
    const upstream = await Upstream.listen((socket) => void socket.pipe(socket))
    process.env['CONNECT_PORT'] = String(upstream.port)
    const server = await serve({
      app: app('connect'),
      listen: { port: 0, host: '127.0.0.1' },
      reactors: 1,
      pool: 0,
      limits: { connections: 2 },
    })
    await upstream.accepted(1)
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('tunnel\n')
    // The one of start, and this client: there is no place for its upstream.
    expect(await client.lines(1)).to.deep.equal(['ERR_MR_LIMIT'])
    const { reactors } = server.stats()
    expect(reactors[0]).to.include({ connected: 1, connecting: 0, connectFailures: 0 })
    client.destroy()
    await server.close()
    await upstream.close()
  })

  it('cannot be waited for in start', async () => {
    const upstream = await Upstream.listen()
    process.env['CONNECT_PORT'] = String(upstream.port)
    const error = await rejection(serve({ app: app('connect-in-start'), listen: 0, reactors: 1, pool: 0 }))
    expect(error).to.include({ code: 'ERR_MR_CONNECT' })
    expect(error.message).to.include('do not wait for connect() in start()')
    await upstream.close()
  })
})
