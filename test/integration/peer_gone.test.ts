import { execFileSync } from 'node:child_process'
import net from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { type Connection, lines, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('a peer that has gone before its connection is accepted', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('has an address in its close hook, though nobody has asked before', async () => {
    const reactor = new Reactor()
    const seen: string[] = []
    const closed = new Promise<void>((resolve) => {
      const say = (hook: string, { remoteAddress, remoteFamily, remotePort }: Record<string, unknown>): void => {
        seen.push(`${hook} ${String(remoteAddress)} ${String(remoteFamily)} ${typeof remotePort}`)
      }
      void reactor
        .listen(
          { port: 0, host: '127.0.0.1' },
          {
            framing: lines(),
            message: () => {},
            close: (conn, reason) => {
              say(`close ${reason}`, conn as never)
              resolve()
            },
          },
        )
        .then(({ port }) => {
          // This thread accepts nothing before that has ended.
          const script = `const socket = require('net').connect(${port}, '127.0.0.1', () => socket.resetAndDestroy())`
          execFileSync(process.execPath, ['-e', script])
        })
    })
    await closed
    expect(seen).to.deep.equal(['close reset 127.0.0.1 IPv4 number'])
    await reactor.close()
  })
})

describe('a peer that resets behind what it sent', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  const later = <T>(): { promise: Promise<T>; resolve: (value: T) => void } => {
    let resolve!: (value: T) => void
    return { promise: new Promise<T>((settle) => (resolve = settle)), resolve }
  }

  /** What this thread sees of a peer that says all of it, and resets, before this thread polls again. */
  async function heard(text: string, first: (conn: Connection) => void = () => {}) {
    const reactor = new Reactor()
    const seen: string[] = []
    const hello = later<Connection>()
    const closed = later<string>()
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      {
        framing: lines(),
        message: (conn, frame) => {
          seen.push(frame.toString())
          if (seen.length > 1) return void conn.write(`answer ${String(frame)}\n`)
          first(conn)
          hello.resolve(conn)
        },
        close: (_conn, reason) => closed.resolve(reason),
      },
    )
    const client = net.connect(port, '127.0.0.1')
    client.write('hello\n')
    const conn = await hello.promise
    client.write(text)
    client.resetAndDestroy()
    return { reactor, seen, conn, closed: closed.promise }
  }

  // More than one turn reads.
  const many = Array.from({ length: 2_000 }, (_, i) => `message ${i}`)

  it('is heard to the last message, also by one whose answers find out that it is gone', async () => {
    const { reactor, seen, closed } = await heard(`${many.join('\n')}\n`)
    expect(await closed).to.equal('reset')
    expect(seen).to.deep.equal(['hello', ...many])
    await reactor.close()
  })

  it('is heard by one who was paused meanwhile, when he goes on', async () => {
    const { reactor, seen, conn, closed } = await heard(`${many.join('\n')}\n`, (it) => it.pause())
    // The turns that tell of the reset lie before the answer to this.
    await reactor.listen({ port: 0, host: '127.0.0.1' }, { framing: lines(), message: () => {} })
    for (let i = 0; i < 10; i++) await setImmediate()
    expect(seen).to.deep.equal(['hello'])
    conn.resume()
    expect(await closed).to.equal('reset')
    expect(seen).to.deep.equal(['hello', ...many])
    await reactor.close()
  })

  it('is heard by a client of ours', async () => {
    const server = net.createServer((socket) => {
      socket.once('data', () => {
        socket.write(`${many.join('\n')}\n`)
        socket.resetAndDestroy()
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const reactor = new Reactor()
    const seen: string[] = []
    const closed = later<string>()
    const conn = await reactor.connect(
      { port: (server.address() as net.AddressInfo).port, host: '127.0.0.1' },
      {
        framing: lines(),
        message: (_conn, frame) => void seen.push(frame.toString()),
        close: (_conn, reason) => closed.resolve(reason),
      },
    )
    conn.write('go')
    expect(await closed.promise).to.equal('reset')
    expect(seen).to.deep.equal(many)
    await reactor.close()
    await new Promise((resolve) => server.close(resolve))
  })
})
