import { once } from 'node:events'
import net from 'node:net'
import { pipeline } from 'node:stream/promises'
import { type Connection, type ConnectionDuplex, lines, Reactor, type ExistingServer } from '@multireactor/reactor'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'
import { connectTo, onBoth, readAll, type Side, watch } from './sides.js'

/** A server's end of a connection, and its fate. */
type Served = net.Socket

/** A client, and its connection as the server gets it. */
async function served(
  side: Side,
  server: ExistingServer,
  options: { allowHalfOpen?: boolean } = {},
): Promise<{ client: net.Socket; socket: Served }> {
  const arrived = once(server, 'connection') as Promise<[Served]>
  const client = await connectTo(side, options)
  const [socket] = await arrived
  return { client, socket }
}

describe('toDuplex', () => {
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(() => expectNothingLeft(before))

  it('looks like the socket that net gives to a server', async () => {
    const { net: expected, reactor } = await onBoth(
      () => net.createServer(),
      async (side, server) => {
        const { client, socket } = await served(side, server)
        client.write('hello')
        await once(socket, 'readable')
        socket.read()
        const wrote = new Promise((resolve) => socket.write('hey', resolve))
        await Promise.all([wrote, once(client, 'data')])
        const { remoteAddress, remoteFamily, localAddress, localPort, bytesRead, bytesWritten } = socket
        const seen = {
          remoteAddress,
          remoteFamily,
          isRemotePort: socket.remotePort === client.localPort,
          localAddress,
          isLocalPort: localPort === side.port,
          address: { ...socket.address(), port: 0 },
          bytesRead,
          bytesWritten,
          connecting: socket.connecting,
          pending: socket.pending,
          readyState: socket.readyState,
          writableLength: socket.writableLength,
          timeout: socket.timeout,
          encrypted: Boolean((socket as { encrypted?: boolean }).encrypted),
          chains: [
            socket.setNoDelay(true),
            socket.setKeepAlive(true, 1000),
            socket.ref(),
            socket.unref(),
            socket.setTimeout(0),
          ].every((it) => it === socket),
        }
        client.destroy()
        socket.resume()
        await once(socket, 'close')
        return { ...seen, after: socket.readyState, destroyed: socket.destroyed }
      },
    )
    expect(reactor).to.deep.equal(expected)
  })

  for (const allowHalfOpen of [false, true]) {
    it(`ends as net does ${allowHalfOpen ? 'with' : 'without'} allowHalfOpen, whoever ends first`, async () => {
      const { net: expected, reactor } = await onBoth(
        () => net.createServer({ allowHalfOpen }),
        async (side, server) => {
          const histories: string[][] = []
          for (const first of ['client', 'server', 'both']) {
            const { client, socket } = await served(side, server, { allowHalfOpen: true })
            const history = watch(socket)
            socket.on('data', (chunk) => socket.writable && socket.write(`<${String(chunk)}>`))
            const answer = readAll(client)
            if (first === 'client') {
              client.end('one')
              if (allowHalfOpen) {
                await once(socket, 'end')
                socket.end('last')
              }
            } else if (first === 'server') {
              socket.end('bye')
              await answer
              client.end('heard')
            } else {
              socket.end('now')
              client.end('too')
            }
            history.push(await answer)
            if (!socket.closed) await once(socket, 'close')
            // The moment at which the answer ends for the client is random, its content is not.
            histories.push(history.sort())
          }
          return histories
        },
      )
      expect(reactor).to.deep.equal(expected)
    })
  }

  it('tells a reset as ECONNRESET', async () => {
    const { net: expected, reactor } = await onBoth(
      () => net.createServer(),
      async (side, server) => {
        const { client, socket } = await served(side, server)
        const history = watch(socket)
        socket.resume()
        client.resetAndDestroy()
        await new Promise((resolve) => socket.once('close', resolve))
        return history
      },
    )
    expect(reactor).to.deep.equal(['error ECONNRESET', 'close']).and.deep.equal(expected)
  })

  for (const ends of [true, false]) {
    it(`gives what its peer sent before it reset${ends ? ', and its end, which is no error' : ''}`, async () => {
      const { net: expected, reactor } = await onBoth(
        () => net.createServer(),
        async (side, server) => {
          const { client, socket } = await served(side, server)
          const history = watch(socket)
          let got = ''
          socket.on('data', (bytes: Buffer) => {
            got += bytes.toString()
          })
          // All of it has arrived when this thread polls again.
          if (ends) client.end('last').once('finish', () => client.resetAndDestroy())
          else {
            client.write('last')
            client.resetAndDestroy()
          }
          await new Promise((resolve) => socket.once('close', resolve))
          return { got, history }
        },
      )
      expect(reactor.got).to.equal('last').and.equal(expected.got)
      // Without an end of the peer's, net says one all the same: libuv does not look for the error behind a short read.
      if (ends) expect(reactor.history).to.deep.equal(['end', 'finish', 'close']).and.deep.equal(expected.history)
      else expect(reactor.history).to.deep.equal(['error ECONNRESET', 'close'])
    })
  }

  it('keeps what its peer sent before it reset for a reader that was busy', async () => {
    const { net: expected, reactor } = await onBoth(
      () => net.createServer(),
      async (side, server) => {
        const { client, socket } = await served(side, server)
        const history = watch(socket)
        // The first half fills the stream, so that the second one waits in the kernel.
        client.write('x'.repeat(30_000))
        await once(socket, 'readable')
        client.end('x'.repeat(30_000)).once('finish', () => client.resetAndDestroy())
        await once(client, 'close')
        // Both have had their turns to hear of it, and nobody reads.
        for (let i = 0; i < 10; i++) await new Promise(setImmediate)
        const early = [...history]
        let got = 0
        socket.on('data', (bytes: Buffer) => (got += bytes.length))
        await new Promise((resolve) => socket.once('close', resolve))
        return { early, got, history }
      },
    )
    expect(reactor).to.deep.equal({ early: [], got: 60_000, history: ['end', 'finish', 'close'] })
    expect(reactor).to.deep.equal(expected)
  })

  for (const next of ['reads', 'reads slowly', 'writes', 'waits'] as const) {
    it(`tells of a reset behind what fills the stream when somebody ${next}`, async () => {
      const { net: expected, reactor } = await onBoth(
        () => net.createServer(),
        async (side, server) => {
          const { client, socket } = await served(side, server)
          const history = watch(socket)
          // More than is asked for, and no more than one chunk: nothing is left that could wait in the kernel.
          client.write('x'.repeat(20_000))
          await once(socket, 'readable')
          while (socket.bytesRead < 20_000) await new Promise(setImmediate)
          client.resetAndDestroy()
          await once(client, 'close')
          for (let i = 0; i < 10; i++) await new Promise(setImmediate)
          const early = [...history]
          let got = 0
          if (next.startsWith('reads')) {
            socket.on('data', (bytes: Buffer) => {
              got += bytes.length
              if (next === 'reads') return
              socket.pause()
              setImmediate(() => setImmediate(() => socket.resume()))
            })
          }
          if (next === 'writes') socket.write('late')
          if (next === 'waits') socket.setTimeout(10, () => socket.destroy())
          if (!early.includes('close')) await new Promise((resolve) => socket.once('close', resolve))
          return { early, got, history }
        },
      )
      const history = next === 'waits' ? ['close'] : ['error ECONNRESET', 'close']
      expect(reactor).to.deep.equal({ early: [], got: next.startsWith('reads') ? 20_000 : 0, history })
      expect(reactor).to.deep.equal(expected)
    })
  }

  it('makes its peer wait for a slow reader, and a fast writer for its peer', async () => {
    const { net: expected, reactor } = await onBoth(
      () => net.createServer(),
      async (side, server) => {
        const size = 24 << 20
        const { client, socket } = await served(side, server)
        // The server does not read: bytes beyond the buffers of kernels and streams stay with the client.
        client.write(Buffer.alloc(size, 'in'))
        await once(socket, 'readable')
        for (let last = -1; last !== socket.bytesRead; await new Promise((resolve) => setTimeout(resolve, 50)))
          last = socket.bytesRead
        const stopped = socket.bytesRead < size && socket.readableLength < 1 << 20
        let read = 0
        socket.on('data', (chunk) => {
          read += chunk.length
        })
        while (read < size) await once(socket, 'data')
        // And the other way round.
        const said = socket.write(Buffer.alloc(size, 'out'))
        const waits = socket.writableLength > 0
        let got = 0
        client.on('data', (chunk) => {
          got += chunk.length
        })
        await once(socket, 'drain')
        while (got < size) await once(client, 'data')
        client.destroy()
        await once(socket, 'close')
        return { stopped, read, said, waits, got }
      },
    )
    expect(reactor).to.deep.equal(expected)
    expect(reactor.stopped).to.equal(true)
  })

  it('writes strings in their encodings, and what was corked, in order', async () => {
    const { net: expected, reactor } = await onBoth(
      () => net.createServer(),
      async (side, server) => {
        server.once('connection', (socket: Served) => {
          socket.write('ä€', 'utf8')
          socket.write('äöü', 'latin1')
          socket.write('00ff', 'hex')
          socket.cork()
          for (let i = 0; i < 100; i++) socket.write(i % 3 === 0 ? Buffer.from([i]) : String.fromCharCode(i), 'latin1')
          socket.write('x'.repeat(200_000))
          socket.uncork()
          socket.end(Buffer.alloc(100_000, 'y'))
        })
        return readAll(await connectTo(side))
      },
    )
    expect(reactor === expected, `${reactor.length} bytes are not the ${expected.length} of net`).to.equal(true)
  })

  it('sends what was written before destroy(), as far as the kernel takes it', async () => {
    const { net: expected, reactor } = await onBoth(
      () => net.createServer(),
      async (side, server) => {
        server.once('connection', (socket: Served) => {
          socket.write('last words')
          socket.destroy()
        })
        return readAll(await connectTo(side))
      },
    )
    expect(reactor).to.equal('last words').and.equal(expected)
  })

  it('tells of silence once after setTimeout, and goes on', async () => {
    const { net: expected, reactor } = await onBoth(
      () => net.createServer(),
      async (side, server) => {
        const { client, socket } = await served(side, server)
        let calls = 0
        socket.setTimeout(40, () => calls++)
        await once(socket, 'timeout')
        const { timeout } = socket
        socket.setTimeout(0)
        client.end('x')
        socket.resume()
        await once(socket, 'close')
        return { calls, timeout }
      },
    )
    expect(reactor).to.deep.equal(expected)
  })

  it('begins with the bytes behind the frame that asked for it', async () => {
    const reactor = new Reactor()
    const frames: string[] = []
    let onClosed!: (reason: string) => void
    const closed = new Promise<string>((resolve) => {
      onClosed = resolve
    })
    const { port } = await reactor.listen<undefined>(
      { port: 0, host: '127.0.0.1' },
      {
        framing: lines(),
        message(conn, line) {
          frames.push(line.toString())
          conn.write(`[${line.toString()}]`)
          if (line.toString() !== 'upgrade') return
          const stream = conn.toDuplex()
          expect(() => conn.write('x'))
            .to.throw()
            .with.property('code', 'ERR_MR_STATE')
          expect(() => conn.toDuplex())
            .to.throw()
            .with.property('code', 'ERR_MR_STATE')
          void pipeline(stream, stream)
        },
        close: (_conn, reason) => onClosed(reason),
      },
    )
    const client = net.connect(port, '127.0.0.1')
    client.write('one\nupgrade\ntwo\nthr')
    client.end('ee')
    expect(await readAll(client)).to.equal('[one][upgrade]two\nthree')
    expect(frames).to.deep.equal(['one', 'upgrade'])
    expect(await closed).to.equal('end')
    await reactor.close()
  })

  it('is told that the reactor closes, and cut when the time is over', async () => {
    const reactor = new Reactor()
    const streams: ConnectionDuplex[] = []
    const { port } = await reactor.listen<undefined>(
      { port: 0, host: '127.0.0.1' },
      {
        open(conn: Connection<undefined>) {
          streams.push(conn.toDuplex())
          return undefined
        },
        message() {},
      },
    )
    const clients = [net.connect(port, '127.0.0.1'), net.connect(port, '127.0.0.1')]
    while (streams.length < 2) await new Promise((resolve) => setImmediate(resolve))
    // One says goodbye when it is asked to, the other does not care.
    streams[0]!.on('closing', () => streams[0]!.end('goodbye'))
    streams[0]!.resume()
    const history = watch(streams[1]!)
    const answers = Promise.all(clients.map(readAll))
    expect(await reactor.close({ timeoutMs: 200 })).to.deep.equal({ destroyed: 1 })
    expect((await answers).sort()).to.deep.equal(['', 'goodbye'])
    expect(history).to.deep.equal(['close'])
  })
})
