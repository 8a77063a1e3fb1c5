import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { isBytes } from '@multireactor/addon'
import { serve } from '@multireactor/core'
import { httpApp, webSocketMessage } from '@multireactor/http'
import { Pool } from '@multireactor/pool'
import { type Connection, lines, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { fixture } from '../fixtures/bad-failure.js'
import { lostViews } from '../fixtures/lost_views.js'

const local = { port: 0, host: '127.0.0.1' }

/** Values that are neither strings nor bytes, by name. */
const notBytes: Record<string, () => unknown> = {
  'a number': () => 5,
  NaN: () => Number.NaN,
  'a bigint': () => 1n,
  true: () => true,
  null: () => null,
  'a symbol': () => Symbol('s'),
  'an object': () => ({}),
  'an object with a length': () => ({ length: 1000 }),
  'an array': () => [1, 2, 3],
  'a function': () => () => 'x',
  'an ArrayBuffer': () => new ArrayBuffer(3),
  'a Float64Array': () => new Float64Array(3),
  'a DataView': () => new DataView(new ArrayBuffer(3)),
  'a String object': () => Object('text'),
  'an object that inherits from Uint8Array': () => Object.create(Uint8Array.prototype, { length: { value: 1000 } }),
  'a Proxy of a Uint8Array': () => new Proxy(new Uint8Array(3), { get: (_, name) => (name === 'length' ? 1000 : undefined) }),
  'a view that claims to be longer': () => Object.defineProperty(new Uint8Array(3), 'length', { value: 1000 }),
  'a view whose length is no number': () => Object.defineProperty(Buffer.alloc(3), 'length', { value: 'x' }),
  'a view whose length throws': () =>
    Object.defineProperty(new Uint8Array(3), 'length', {
      get() {
        throw new Error('of the caller')
      },
    }),
  ...lostViews,
}

const names = ['alice', 'bob', 'carol', 'dave']

/** Sends a line on each socket at once, so that they come in one batch, and resolves to the line that each gets. */
async function ask(sockets: Socket[], lines: string[]): Promise<string[]> {
  const answers = sockets.map(async (socket) => String((await once(socket, 'data'))[0]))
  sockets.forEach((socket, i) => void socket.write(`${lines[i]}\n`))
  return Promise.all(answers)
}

async function connected(port: number, count: number): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1'))
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  return sockets
}

/** The code of the error of `call`, or 'none'. */
async function codeOf(call: () => unknown): Promise<string> {
  try {
    await call()
    return 'none'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

describe('bytes', () => {
  it('are what the engine says they are: isBytes believes no property and no prototype', () => {
    for (const [name, make] of Object.entries(notBytes)) expect(isBytes(make()), name).to.equal(false)
    for (const bytes of ['', 'x', new Uint8Array(0), Buffer.from('x'), new (class extends Uint8Array {})(2)]) {
      expect(isBytes(bytes)).to.equal(true)
    }
  })

  it('of a wrong type are refused by every method of a connection, and no other connection gets a byte of them', async () => {
    const codes: Record<string, Promise<string>> = {}
    await using reactor = new Reactor()
    const { port } = await reactor.listen(local, {
      framing: lines(),
      message(conn, line) {
        const [who, what] = line.toString().split('/')
        if (what !== undefined) {
          const value = notBytes[what]! as () => never
          const attempts: Record<string, () => unknown> = {
            write: () => conn.write(value()),
            reply: () => conn.reply(value()),
            'reply of what is said to be ASCII': () => conn.reply(value(), { ascii: true }),
            end: () => conn.end(value()),
            submit: () => conn.submit(value()),
            call: () => conn.run(value()),
            publish: () => conn.publish('topic', value()),
            'publish of the reactor': () => reactor.publish('topic', value()),
          }
          for (const part of ['write', 'end', 'close'] as const) {
            const later = conn.defer()
            attempts[`${part} later`] = () => {
              try {
                return later[part](value())
              } finally {
                later.end()
              }
            }
          }
          for (const [name, attempt] of Object.entries(attempts)) codes[`${name} of ${what}`] = codeOf(attempt)
        }
        conn.reply(`${who}'s reply\n`)
      },
    })
    const sockets = await connected(port, names.length + 1)
    for (const what of Object.keys(notBytes)) {
      const said = await ask(sockets, [`mallory/${what}`, ...names])
      expect(said, what).to.deep.equal(['mallory', ...names].map((name) => `${name}'s reply\n`))
    }
    for (const socket of sockets) socket.destroy()
    const found = await Promise.all(Object.entries(codes).map(async ([name, code]) => [name, await code]))
    expect(found).to.have.length(Object.keys(notBytes).length * 11)
    expect(found.filter(([, code]) => code !== 'ERR_MR_DATA')).to.deep.equal([])
  })

  it('of a frame cannot be taken away from the frames beside it', async () => {
    const codes: unknown[] = []
    const reactor = new Reactor({ onError: (error) => codes.push(error) })
    const { port } = await reactor.listen(local, {
      framing: lines(),
      message(conn, line) {
        for (const name of ['transfer', 'transferToFixedLength']) {
          try {
            ;(line.buffer as unknown as Record<string, () => void>)[name]!()
          } catch (error) {
            codes.push((error as { code?: string }).code)
          }
        }
        conn.write(`${line}\n`)
      },
    })
    const socket = connect(port, local.host)
    const parts: Buffer[] = []
    socket.on('data', (part) => parts.push(part))
    socket.end('one\ntwo\n')
    await once(socket, 'close')
    expect(String(Buffer.concat(parts))).to.equal('one\ntwo\n')
    expect(codes).to.deep.equal(Array(4).fill('ERR_MR_DATA'))
    await reactor.close()
  })

  it('of a wrong type are refused by responses and WebSocket messages', async () => {
    const codes: [string, string][] = []
    await using reactor = new Reactor({ onError: () => {} })
    const { port } = await reactor.listen(
      local,
      httpApp({
        async request(_req, res) {
          for (const [name, value] of Object.entries(notBytes)) {
            // `end()` without a body is one of its forms, and null is no body either.
            codes.push([`write of ${name}`, await codeOf(() => res.write(value() as never))])
            codes.push([`end of ${name}`, await codeOf(() => res.end(value() as never))])
          }
          res.end('done')
        },
      }),
    )
    const socket = connect(port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    let text = ''
    socket.on('data', (chunk) => {
      text += String(chunk)
    })
    await once(socket, 'close')
    expect(text.endsWith('\r\n\r\ndone'), text).to.equal(true)
    for (const [name, value] of Object.entries(notBytes)) {
      codes.push([`webSocketMessage of ${name}`, await codeOf(() => webSocketMessage(value() as never))])
    }
    expect(codes).to.have.length(Object.keys(notBytes).length * 3)
    expect(codes.filter(([, code]) => code !== 'ERR_MR_DATA')).to.deep.equal([])
  })

  it('of a wrong type are refused by a server and a pool', async () => {
    await using server = await serve({ app: fixture('bad-echo.js'), listen: local, reactors: 1, pool: 0 })
    await using pool = new Pool({ worker: fixture('pool-echo.js'), size: 1 })
    const codes: [string, string][] = []
    for (const [name, value] of Object.entries(notBytes)) {
      const bytes = value() as never
      codes.push([`send of ${name}`, await codeOf(() => server.send(1n, bytes))])
      codes.push([`publish of ${name}`, await codeOf(() => server.publish('topic', bytes))])
      codes.push([`call of ${name}`, await codeOf(() => server.call(0, bytes))])
      codes.push([`run of ${name}`, await codeOf(() => pool.run(bytes))])
    }
    expect(codes.filter(([, code]) => code !== 'ERR_MR_DATA')).to.deep.equal([])
  })

  it('given to a stream are the business of node:stream, and a hook that throws for them closes its connection alone', async () => {
    const codes: string[] = []
    let stranger: Connection<undefined> | undefined
    await using reactor = new Reactor({ onError: () => {} })
    const { port } = await reactor.listen(local, {
      framing: lines(),
      message(conn, line) {
        if (line.toString() !== 'stream') {
          stranger = conn
          return void conn.reply('line\n')
        }
        const stream = conn.toDuplex()
        for (const value of [5, 1n, {}, true]) {
          try {
            stream.write(value as never)
          } catch (error) {
            codes.push((error as { code: string }).code)
          }
        }
        stream.end('over\n')
      },
    })
    const sockets = await connected(port, 2)
    expect(await ask(sockets, ['stream', 'line'])).to.deep.equal(['over\n', 'line\n'])
    expect(codes).to.deep.equal(Array(4).fill('ERR_INVALID_ARG_TYPE'))
    expect(stranger!.destroyed).to.equal(false)
    for (const socket of sockets) socket.destroy()
  })
})
