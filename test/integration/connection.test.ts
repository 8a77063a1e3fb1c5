import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { serve } from '@multireactor/core'
import {
  type Connection,
  type ConnectionHandlers,
  type ConnectionOptions,
  lengthPrefixed,
  lines,
  Reactor,
} from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('a connection', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  async function withReactor<Data>(
    handlers: ConnectionHandlers<Data> & ConnectionOptions,
    work: (port: number, reasons: string[]) => Promise<void>,
  ) {
    const errors: unknown[] = []
    const reasons: string[] = []
    await using reactor = new Reactor({ onError: (error) => void errors.push(error) })
    const { close } = handlers
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      {
        ...handlers,
        close: (conn: Connection<Data>, reason) => {
          reasons.push(reason)
          return close?.(conn, reason)
        },
      },
    )
    await work(port, reasons)
    expect(errors).to.deep.equal([])
  }

  it('says false to a write that the peer does not take, and drain when it has', async () => {
    const said: unknown[] = []
    await withReactor(
      {
        message: (conn) => void said.push(conn.write(Buffer.alloc(12 << 20))),
        drain: (conn) => {
          said.push('drain', conn.writableLength <= 16 << 10)
        },
      },
      async (port) => {
        const client = await Client.connect(port)
        client.socket.pause()
        client.write('x')
        while (said.length < 1) await new Promise(setImmediate)
        client.socket.resume()
        let bytes = 0
        client.socket.removeAllListeners('data').on('data', (chunk: Buffer) => {
          bytes += chunk.length
        })
        while (said.length < 3 || bytes < 12 << 20) await new Promise(setImmediate)
        expect(said).to.deep.equal([false, 'drain', true])
        client.destroy()
      },
    )
  })

  it('closes as slow-consumer at outBuffer.max', async () => {
    await withReactor(
      {
        outBuffer: { max: 1 << 20 },
        message(conn) {
          for (let i = 0; i < 16 && !conn.destroyed; i++) conn.write(Buffer.alloc(1 << 20))
        },
      },
      async (port, reasons) => {
        const client = await Client.connect(port)
        client.socket.pause()
        client.write('x')
        while (reasons.length === 0) await new Promise(setImmediate)
        expect(reasons).to.deep.equal(['slow-consumer'])
        client.destroy()
      },
    )
  })

  it('end(data) sends it and closes as end; destroy(reason) closes with its reason', async () => {
    await withReactor(
      { message: (conn, chunk) => void (chunk.toString() === 'end' ? conn.end('bye') : conn.destroy('malformed-frame')) },
      async (port, reasons) => {
        for (const [command, reply] of [
          ['end', 'bye'],
          ['destroy', ''],
        ] as const) {
          const client = await Client.connect(port)
          client.write(command)
          await client.untilClosed()
          expect(client.received.toString()).to.equal(reply)
        }
        while (reasons.length < 2) await new Promise(setImmediate)
        expect(reasons).to.deep.equal(['end', 'malformed-frame'])
      },
    )
  })

  it('calls timeout, and without that hook closes as timeout', async () => {
    const message = () => {}
    await withReactor(
      { open: (conn) => void conn.setTimeout(40), message, timeout: (conn) => conn.end('idle') },
      async (port) => {
        const client = await Client.connect(port)
        await client.untilClosed()
        expect(client.received.toString()).to.equal('idle')
      },
    )
    await withReactor({ open: (conn) => void conn.setTimeout(40), message }, async (port, reasons) => {
      const client = await Client.connect(port)
      await client.untilClosed()
      while (reasons.length === 0) await new Promise(setImmediate)
      expect(reasons).to.deep.equal(['timeout'])
    })
  })

  it('knows addresses, bytes and its data before and after it closed', async () => {
    const seen: unknown[] = []
    const look = (conn: Connection<{ n: number }>) =>
      seen.push([conn.remoteAddress, conn.remotePort, conn.remoteFamily, conn.bytesRead, conn.bytesWritten, conn.data.n++])
    await withReactor(
      {
        open: () => ({ n: 1 }),
        message: (conn, chunk) => {
          expect([conn.localAddress, conn.localPort]).to.deep.equal(['127.0.0.1', port_])
          look(conn)
          conn.write(chunk)
        },
        close: (conn) => void look(conn),
      },
      async (port, reasons) => {
        port_ = port
        const client = await Client.connect(port)
        const own = client.socket.localPort
        client.write('hello')
        await client.bytes(5)
        client.destroy()
        while (reasons.length === 0) await new Promise(setImmediate)
        expect(seen).to.deep.equal([
          ['127.0.0.1', own, 'IPv4', 5, 0, 1],
          ['127.0.0.1', own, 'IPv4', 5, 5, 2],
        ])
      },
    )
  })
  let port_ = 0

  it('is reached from another thread by its id', async () => {
    await using server = await serve({ app: app('int-who'), listen: { port: 0, host: '127.0.0.1' }, reactors: 2, pool: 0 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('who\n')
    const id = BigInt((await client.lines(1))[0]!.split(' ')[3]!)
    const worker = new Worker(app('int-sender'), { workerData: { token: server.token, id } })
    const exited = once(worker, 'exit')
    expect((await once(worker, 'message'))[0]).to.equal('sent')
    expect((await client.lines(2))[1]).to.equal('from a thread')
    await exited
    client.destroy()
  })

  it('answers after the peer has ended, with allowHalfOpen', async () => {
    await withReactor(
      {
        allowHalfOpen: true,
        message() {},
        end: (conn) =>
          void setImmediate(() => {
            conn.write('later ')
            conn.end('bye')
          }),
      },
      async (port) => {
        const client = await Client.connect(port, { allowHalfOpen: true })
        client.socket.end('x')
        while (!client.ended) await new Promise(setImmediate)
        await client.untilClosed()
        expect(client.received.toString()).to.equal('later bye')
      },
    )
  })

  it('keeps 1,000 frames of distinct content valid', async () => {
    const frames: Buffer[] = []
    await withReactor({ framing: lengthPrefixed(), message: (_, frame) => void frames.push(frame) }, async (port) => {
      const client = await Client.connect(port)
      const size = (i: number) => (i * 37) % 3000
      for (let i = 0; i < 1_000; i++) {
        const header = Buffer.alloc(4)
        header.writeUInt32BE(size(i))
        client.write(Buffer.concat([header, Buffer.alloc(size(i), `frame ${i},`)]))
      }
      while (frames.length < 1_000) await new Promise(setImmediate)
      for (const [i, frame] of frames.entries()) {
        expect(frame.equals(Buffer.alloc(size(i), `frame ${i},`)), `frame ${i}`).to.equal(true)
      }
      client.destroy()
    })
  })

  it('closes as reset when the client resets, and throws nothing', async () => {
    await withReactor({ message: (conn, chunk) => void conn.write(chunk) }, async (port, reasons) => {
      const client = await Client.connect(port)
      client.write('x')
      await client.bytes(1)
      client.socket.resetAndDestroy()
      while (reasons.length === 0) await new Promise(setImmediate)
      expect(reasons).to.deep.equal(['reset'])
    })
  })

  it("answers as replies are ready with order: 'none'", async () => {
    await using server = await serve({ app: app('int-parallel'), listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool: 1 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('80\n40\n1\n')
    expect(await client.lines(3)).to.deep.equal(['1', '40', '80'])
    client.destroy()
  })

  it('loses no frame when it is paused and resumed outside of a hook', async () => {
    let conn: Connection<undefined> | undefined
    await withReactor(
      {
        message: (one, chunk) => {
          conn = one as Connection<undefined>
          one.write(chunk)
        },
      },
      async (port) => {
        const client = await Client.connect(port)
        client.write('a')
        await client.bytes(1)
        conn!.pause()
        conn!.resume()
        client.write('b')
        await client.bytes(2)
        client.destroy()
      },
    )
  })

  it('loses no frame when a hook pauses another connection in the middle of a batch', async () => {
    const reactor = new Reactor()
    const seen: string[] = []
    const conns: { pause(): void; resume(): void }[] = []
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      {
        framing: lines(),
        open(conn) {
          conns.push(conn)
        },
        message(conn, frame) {
          seen.push(frame.toString())
          for (const other of conns) if (other !== conn) other.pause()
          conn.write('\n')
        },
      },
    )
    const clients = [await Client.connect(port), await Client.connect(port)]
    while (conns.length < 2) await new Promise(setImmediate)
    // Written before the loop turns, so that both arrive in one batch.
    for (const [i, client] of clients.entries()) client.write(`a${i}\nb${i}\n`)
    while (seen.length < 2) await new Promise(setImmediate)
    for (const conn of conns) conn.resume()
    for (const conn of conns) conn.pause = () => {}
    for (const client of clients) await client.lines(2)
    expect(seen.sort()).to.deep.equal(['a0', 'a1', 'b0', 'b1'])
    for (const client of clients) client.destroy()
    await reactor.close()
  })
})
