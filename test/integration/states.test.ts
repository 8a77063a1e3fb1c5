import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { type Connection, type ConnectionDuplex, lines, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'

const local = { port: 0, host: '127.0.0.1' }

/** All that comes up to and with `end`. */
async function upTo(socket: Socket, end: string): Promise<string> {
  let text = ''
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk)
    if (text.includes(end)) return text
  }
  return text
}

/** The result of a call, or the code of its error. */
function outcomeOf(call: () => unknown): unknown {
  try {
    return call()
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

describe('states of a connection', () => {
  it('piped: hooks write among the bytes of the other connection, and no deferred reply or publication does', async () => {
    const upstream = createServer((socket) => socket.on('error', () => {}).on('data', (bytes) => socket.write(bytes)))
    upstream.listen(0, '127.0.0.1')
    await once(upstream, 'listening')
    const outcomes: Record<string, unknown> = {}
    let piped: Connection<undefined> | undefined
    let ready!: () => void
    const isPiped = new Promise<void>((resolve) => {
      ready = resolve
    })
    const reactor = new Reactor()
    const { port } = await reactor.listen(local, {
      async open(conn) {
        conn.pause()
        conn.subscribe('topic')
        const up = await conn.reactor.connect({ port: (upstream.address() as AddressInfo).port, host: '127.0.0.1' })
        conn.pipe(up)
        piped = conn
        ready()
        return undefined
      },
      message() {},
    })
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    await isPiped
    for (const conn of [piped!]) {
      outcomes['write'] = outcomeOf(() => conn.write('of a hook, '))
      const later = conn.defer()
      outcomes['write later'] = outcomeOf(() => later.write('stray'))
      outcomes['end later'] = outcomeOf(() => later.end('stray'))
      outcomes['subscriptions'] = conn.subscriptions
    }
    expect(reactor.publish('topic', 'stray')).to.equal(0)
    socket.write('through\n')
    expect(await upTo(socket, 'through\n')).to.equal('of a hook, through\n')
    expect(outcomes).to.deep.equal({ write: true, 'write later': false, 'end later': false, subscriptions: [] })
    socket.destroy()
    upstream.close()
    await reactor.close({ timeoutMs: 1_000 })
  })

  it('piped in a message hook: what that hook writes, before pipe() and behind it, comes before the bytes of the other connection', async () => {
    const upstream = createServer((socket) => socket.on('error', () => {}).on('data', (bytes) => socket.write(bytes)))
    upstream.listen(0, '127.0.0.1')
    await once(upstream, 'listening')
    const reactor = new Reactor()
    const results: unknown[] = []
    let up: Connection<undefined> | undefined
    const { port } = await reactor.listen(local, {
      framing: lines(),
      message(conn) {
        results.push(conn.write('before '))
        conn.pipe(up!)
        results.push(conn.write('behind '))
      },
    })
    up = await reactor.connect({ port: (upstream.address() as AddressInfo).port, host: '127.0.0.1' })
    const socket = connect(port, '127.0.0.1')
    socket.write('pipe\nthrough\n')
    expect(await upTo(socket, 'through\n')).to.equal('before behind through\n')
    expect(results).to.deep.equal([true, true])
    socket.destroy()
    upstream.close()
    await reactor.close({ timeoutMs: 1_000 })
  })

  it('streamed: only the stream writes, behind the replies to frames before it', async () => {
    const outcomes: Record<string, unknown> = {}
    let stream: ConnectionDuplex | undefined
    await using reactor = new Reactor()
    const { port } = await reactor.listen(local, {
      framing: lines(),
      message(conn) {
        const later = conn.defer()
        conn.subscribe('topic')
        stream = conn.toDuplex()
        stream.write('of the stream\n')
        for (const [name, call] of Object.entries({
          write: () => conn.write('stray'),
          reply: () => conn.reply('stray'),
          defer: () => conn.defer(),
          subscribe: () => conn.subscribe('topic'),
        })) {
          outcomes[name] = outcomeOf(call)
        }
        outcomes['publish'] = reactor.publish('topic', 'stray')
        later.end('of the frame before, ')
      },
    })
    const socket = connect(port, '127.0.0.1')
    socket.write('go\n')
    expect(await upTo(socket, 'stream\n')).to.equal('of the frame before, of the stream\n')
    const state = 'ERR_MR_STATE'
    expect(outcomes).to.deep.equal({ write: state, reply: state, defer: state, subscribe: state, publish: 0 })
    stream!.destroy()
    socket.destroy()
  })

  it("streamed, with order: 'none': toDuplex() is refused while a reply could come in the middle", async () => {
    await using reactor = new Reactor()
    const { port } = await reactor.listen(local, {
      framing: lines(),
      order: 'none',
      message(conn) {
        const later = conn.defer()
        later.end(`${conn.toDuplex().destroyed}\n`)
        conn.toDuplex().end('stream\n')
      },
    })
    const socket = connect(port, '127.0.0.1')
    socket.write('go\n')
    expect(await upTo(socket, 'stream\n')).to.equal('true\nstream\n')
    socket.destroy()
  })
})
