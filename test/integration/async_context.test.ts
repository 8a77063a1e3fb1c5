import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { createServer as createHttp } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { httpApp } from '@multireactor/http'
import { attach, type ConnectionHandlers, lines, Reactor } from '@multireactor/reactor'
import { serve } from '@multireactor/core'
import { expect } from 'chai'
import { frame, handshake, wordsOf } from '../support/websocket.js'

const local = { port: 0, host: '127.0.0.1' }
const store = new AsyncLocalStorage<string>()

/** Returns the entered store, and enters another one. */
function enter(text: string): string {
  const before = store.getStore() ?? 'nothing'
  if (text !== 'who') store.enterWith(text)
  return before
}

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

async function ask(socket: Socket, text: string): Promise<string> {
  const answer = once(socket, 'data')
  socket.write(`${text}\n`)
  return String((await answer)[0]).trim()
}

/** Two connections that enter something each, and the stores that they and a third one see afterwards. */
async function conversation(port: number): Promise<string[]> {
  const [a, b, c] = await Promise.all([dial(port), dial(port), dial(port)])
  const heard: string[] = []
  for (const [socket, text] of [
    [a, 'ann'],
    [b, 'bea'],
    [a, 'who'],
    [b, 'who'],
    [c, 'who'],
    [a, 'eve'],
    [a, 'who'],
    [b, 'who'],
  ] as const) {
    heard.push(await ask(socket, text))
  }
  for (const socket of [a, b, c]) socket.destroy()
  return heard
}
const apart = ['nothing', 'nothing', 'ann', 'bea', 'nothing', 'ann', 'eve', 'bea']

async function listening(
  handlers: Parameters<Reactor['listen']>[1],
  use: (port: number, reactor: Reactor) => Promise<void>,
): Promise<void> {
  const reactor = new Reactor()
  const { port } = await reactor.listen(local, handlers)
  await use(port, reactor)
  await reactor.close({ timeoutMs: 1_000 })
}

describe('AsyncLocalStorage', () => {
  const message: NonNullable<ConnectionHandlers<unknown>['message']> = (conn, line) => {
    conn.write(`${enter(line.toString())}\n`)
  }

  it('hooks see what their connection has entered, in hooks of all kinds, and nobody else does', async () => {
    const closed: Promise<string>[] = []
    let note!: (text: string) => void
    closed.push(
      new Promise((resolve) => {
        note = resolve
      }),
    )
    await listening(
      {
        framing: lines(),
        open() {
          store.enterWith('opened')
          return undefined
        },
        async message(conn, line) {
          const before = enter(line.toString())
          await null
          conn.write(`${before} ${store.getStore()}\n`)
        },
        close: () => note(store.getStore() ?? 'nothing'),
      },
      async (port) => {
        const a = await dial(port)
        expect(await ask(a, 'ann')).to.equal('opened ann')
        const b = await dial(port)
        expect(await ask(b, 'who')).to.equal('opened opened')
        expect(await ask(a, 'who')).to.equal('ann ann')
        b.destroy()
        expect(await closed[0]).to.equal('opened')
        a.destroy()
      },
    )
  })

  it('connections whose frames lie in one batch are apart, too', async () => {
    await listening({ framing: lines(), message }, async (port) => {
      expect(await conversation(port)).to.deep.equal(apart)
      const sockets = await Promise.all(Array.from({ length: 8 }, () => dial(port)))
      const first = sockets.map((socket, i) => ask(socket, String(i)))
      expect(await Promise.all(first)).to.deep.equal(Array(8).fill('nothing'))
      const second = sockets.map((socket) => ask(socket, 'who'))
      expect(await Promise.all(second)).to.deep.equal(sockets.map((_, i) => String(i)))
      for (const socket of sockets) socket.destroy()
    })
  })

  it('connections of an attached net.Server see nothing of each other', async () => {
    const server = createServer((socket) =>
      socket.on('error', () => {}).on('data', (bytes) => socket.write(`${enter(String(bytes).trim())}\n`)),
    )
    await listening(attach(server), async (port) => {
      expect(await conversation(port)).to.deep.equal(apart)
    })
  })

  it('requests start afresh, on one connection as well, with httpApp() and with an attached http.Server', async () => {
    const app = httpApp({ request: (req, res) => void res.end(`${enter(req.header('x-user') ?? 'who')}.`) })
    const node = attach(createHttp((req, res) => void res.end(`${enter(String(req.headers['x-user'] ?? 'who'))}.`)))
    for (const handlers of [app, node]) {
      await listening(handlers, async (port) => {
        const heard: string[] = []
        const socket = await dial(port)
        for (const user of ['ann', undefined, 'bea', undefined]) {
          const answer = once(socket, 'data')
          socket.write(`GET / HTTP/1.1\r\nHost: a\r\n${user ? `X-User: ${user}\r\n` : ''}\r\n`)
          heard.push(/(\w+)\.\s*(?:\r\n0\s*)?$/.exec(String((await answer)[0]))![1]!)
        }
        socket.destroy()
        if (handlers === app) expect(heard).to.deep.equal(['nothing', 'nothing', 'nothing', 'nothing'])
        const other = await dial(port)
        const answer = once(other, 'data')
        other.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
        expect(String((await answer)[0])).to.include('nothing')
        other.destroy()
      })
    }
  })

  it('a WebSocket sees what its own hooks have entered', async () => {
    const app = httpApp({
      request: (_req, res) => void res.end(),
      websocket: {
        open() {
          enter('opened')
        },
        message: (ws, data) => void ws.send(enter(String(data))),
      },
    })
    await listening(app, async (port) => {
      const [a, b] = await Promise.all([dial(port), dial(port)])
      for (const socket of [a, b]) {
        const accepted = once(socket, 'data')
        socket.write(handshake())
        expect(String((await accepted)[0])).to.match(/^HTTP\/1\.1 101 /)
      }
      const heard: string[] = []
      for (const [client, text] of [
        [a, 'ann'],
        [b, 'bea'],
        [a, 'who'],
        [b, 'who'],
      ] as const) {
        const answer = once(client, 'data')
        client.write(frame(1, text))
        heard.push(...wordsOf((await answer)[0] as Buffer))
      }
      expect(heard).to.deep.equal(['text opened', 'text opened', 'text ann', 'text bea'])
      a.destroy()
      b.destroy()
    })
  })

  it('an onCall hook starts afresh, on the thread of its caller as well, and its caller keeps its own context', async () => {
    await using server = await serve({
      app: new URL('../fixtures/async_context_calls.js', import.meta.url),
      listen: local,
      reactors: 2,
      pool: 0,
      balance: 'least-connections',
    })
    const [a, b] = [await dial(server.listeners[0]!.port), await dial(server.listeners[0]!.port)]
    for (const socket of [a, b]) {
      for (const reactor of [0, 1, 0]) {
        expect(await ask(socket, `call ${reactor}`), `reactor ${reactor}`).to.equal('nothing nothing')
        expect(await ask(socket, `run ${reactor}`), `reactor ${reactor}`).to.equal('nothing caller')
      }
      socket.destroy()
    }
  })

  it('hooks of a client connection run where connect() was called, and what awaits goes on in its own context', async () => {
    await listening({ framing: lines(), message }, async (port, reactor) => {
      await store.run('request 7', async () => {
        const seen: string[] = []
        const both = new Promise<void>((resolve) => {
          const note = (): void => {
            if (seen.push(store.getStore() ?? 'nothing') === 2) resolve()
          }
          const connecting = reactor.connect(
            { port, host: '127.0.0.1' },
            {
              framing: lines(),
              open() {
                note()
                return undefined
              },
              message(conn) {
                note()
                conn.destroy()
              },
            },
          )
          connecting.then((conn) => conn.write('who\n'))
        })
        await both
        expect(seen).to.deep.equal(['request 7', 'request 7'])
        expect(store.getStore()).to.equal('request 7')
      })
      expect(store.getStore()).to.equal(undefined)
    })
  })

  for (const run of ['pool', 'inline'] as const) {
    it(`each frame starts afresh, with its error hook and what it awaits (run: '${run}')`, async () => {
      await using server = await serve({
        app: new URL(`../fixtures/async_context_${run}.js`, import.meta.url),
        listen: local,
        reactors: 1,
        pool: 1,
      })
      const socket = await dial(server.listeners[0]!.port)
      const heard: string[] = []
      for (const text of ['ann', 'who', 'later bea', 'who', 'fails', 'who']) heard.push(await ask(socket, text))
      expect(heard).to.deep.equal(['nothing', 'nothing', 'nothing bea', 'nothing', 'failed: mine', 'nothing'])
      socket.destroy()
    })
  }
})
