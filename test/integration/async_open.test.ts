import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { lines, raw, serve } from '@multireactor/core'
import { type Connection, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const local = { port: 0, host: '127.0.0.1' }

/** A promise that a test settles. */
function gate<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: Error) => void } {
  let resolve!: (value: T) => void
  let reject!: (error: Error) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

describe('an async open', () => {
  let before: ReturnType<typeof census>
  let reactor: Reactor | undefined
  const errors: string[] = []
  beforeEach(() => {
    before = census()
    errors.length = 0
    reactor = new Reactor({ onError: (error) => void errors.push((error as Error).message) })
  })
  afterEach(async () => {
    await reactor?.close({ timeoutMs: 0 })
    // Descriptors of both sides go a moment later.
    while (census().sockets > before.sockets || census().epolls > before.epolls) await new Promise(setImmediate)
    expectNothingLeft(before)
  })

  /** Calls of hooks, in their order. */
  const said: string[] = []
  beforeEach(() => {
    said.length = 0
  })
  const hooks = (opening: Promise<string | undefined>) => ({
    framing: lines(),
    async open() {
      said.push('open')
      const name = await opening
      said.push('opened')
      return name
    },
    message(conn: Connection<string | undefined>, line: Buffer) {
      said.push(`message ${line} ${conn.data}`)
      conn.write(`${conn.data} ${line}\n`)
    },
    end(conn: Connection<string | undefined>) {
      said.push(`end ${conn.data}`)
    },
    close(conn: Connection<string | undefined>, reason: string) {
      said.push(`close ${conn.data} ${reason}`)
    },
  })

  it('is awaited: frames, and the end of the peer, come with what it resolves to', async () => {
    const opening = gate<string>()
    const { port } = await reactor!.listen(local, hooks(opening.promise))
    const client = await Client.connect(port)
    // Together with the connection, behind it, and more than one read.
    client.write('one\ntwo\n')
    client.write(`${'x'.repeat(300_000)}\nthree\n`)
    client.socket.end()
    while (!said.includes('open') || reactor!.stats().open === 0) await new Promise(setImmediate)
    // The bytes are there, and are not read.
    const other = await Client.connect(port)
    await other.until(() => said.length === 2)
    for (let i = 0; i < 50; i++) await new Promise(setImmediate)
    expect(said.filter((what) => !what.startsWith('open') && !what.startsWith('close'))).to.deep.equal([])
    opening.resolve('ann')
    await client.untilClosed()
    expect(client.received.toString()).to.equal(`ann one\nann two\nann ${'x'.repeat(300_000)}\nann three\n`)
    expect(said.filter((what) => what.startsWith('end') || what.includes('three'))).to.deep.equal([
      'message three ann',
      'end ann',
    ])
    other.destroy()
  })

  it('that rejects closes its connection as a throw does, and no frame is delivered', async () => {
    const opening = gate<string>()
    const { port } = await reactor!.listen(local, hooks(opening.promise))
    const client = await Client.connect(port)
    client.write('one\n')
    while (said.length === 0) await new Promise(setImmediate)
    opening.reject(new Error('no such user'))
    await client.untilClosed()
    while (said.length < 2) await new Promise(setImmediate)
    expect(said).to.deep.equal(['open', 'close undefined handler-error'])
    expect(errors).to.deep.equal(['no such user'])
    expect(client.received.toString()).to.equal('')
  })

  it('that has not settled does not keep its connection from closing', async () => {
    const opening = gate<string>()
    const { port } = await reactor!.listen(local, { ...hooks(opening.promise), firstByteTimeoutMs: 100 })
    const silent = await Client.connect(port)
    await silent.untilClosed()
    const gone = await Client.connect(port)
    gone.write('one\n')
    while (said.filter((what) => what === 'open').length < 2) await new Promise(setImmediate)
    gone.socket.resetAndDestroy()
    while (said.filter((what) => what.startsWith('close')).length < 2) await new Promise(setImmediate)
    expect(said[1]).to.equal('close undefined first-byte-timeout')
    opening.resolve('late')
    await opening.promise
    expect(errors).to.deep.equal([])
  })

  it('does not read more than one read of a peer that floods it', async () => {
    const opening = gate<string>()
    const { port } = await reactor!.listen(local, hooks(opening.promise))
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.on('error', () => {})
    // Until the kernel takes no more: the server does not read.
    while (socket.write(Buffer.alloc(1 << 20, 'x')) || socket.writableLength < 16 << 20) {
      if (socket.writableLength >= 16 << 20) break
      await new Promise(setImmediate)
    }
    expect(reactor!.stats().bytesRead).to.be.at.most(256 << 10)
    socket.destroy()
    opening.resolve('late')
  })

  it('keeps the order of pause() and resume(), and a connection that becomes a stream is read', async () => {
    const opening = gate<undefined>()
    const received: string[] = []
    const { port } = await reactor!.listen(local, {
      framing: raw(),
      async open(conn) {
        conn.pause()
        conn.resume()
        await opening.promise
        // From here on its bytes are the stream's, though open has not settled.
        for await (const chunk of conn.toDuplex()) received.push(String(chunk))
      },
      message() {
        received.push('a message')
      },
    })
    const client = await Client.connect(port)
    client.write('one')
    while (reactor!.stats().open === 0) await new Promise(setImmediate)
    expect(received).to.deep.equal([])
    opening.resolve(undefined)
    while (received.length === 0) await new Promise(setImmediate)
    client.write('two')
    client.socket.end()
    await client.untilClosed()
    expect(received.join('')).to.equal('onetwo')
  })

  it('is waited for by a reload, and its data goes to the next thread', async () => {
    const gates = createServer().listen(0, '127.0.0.1')
    await once(gates, 'listening')
    process.env['ASYNC_OPEN_PORT'] = String((gates.address() as AddressInfo).port)
    const server = await serve({ app: app('async-open'), listen: local, reactors: 1, pool: 0 })
    // Asked for first: `open` may have come so far before this thread hears that the client is connected.
    const gate = once(gates, 'connection') as Promise<[Socket]>
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('one\n')
    const [held] = await gate
    const reloaded = server.reload({ timeoutMs: 60_000 })
    for (let i = 0; i < 50; i++) await new Promise(setImmediate)
    expect(client.received.length).to.equal(0)
    held.destroy()
    await reloaded
    client.write('two\n')
    expect(await client.lines(2)).to.deep.equal(['ann one', 'ann two'])
    client.destroy()
    await server.close()
    await new Promise((resolve) => gates.close(resolve))
  })
})
