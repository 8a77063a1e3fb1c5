import { once } from 'node:events'
import net from 'node:net'
import { httpApp, type ServerWebSocket } from '@multireactor/http'
import { type AttachHandlers, lines, proxyHeader, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'
import { closeFrame, frame, handshake } from '../support/websocket.js'

const local = { port: 0, host: '127.0.0.1' }
const many = Array.from({ length: 2_000 }, (_, i) => `message ${i}`)

function later<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void
  return { promise: new Promise<T>((settle) => (resolve = settle)), resolve }
}

/** Says all of it, and resets, before this thread polls again. */
function sayAndReset(client: net.Socket, ...parts: (string | Buffer)[]): void {
  for (const part of parts) client.write(part)
  client.resetAndDestroy()
}

describe('a peer that resets behind what it sent', () => {
  let before: ReturnType<typeof census>
  let reactor: Reactor
  const errors: unknown[] = []
  beforeEach(() => {
    before = census()
    reactor = new Reactor({ onError: (error) => errors.push(error) })
  })
  afterEach(async () => {
    await reactor.close({ timeoutMs: 0 })
    await new Promise(setImmediate)
    expectNothingLeft(before)
    expect(errors.splice(0)).to.deep.equal([])
  })

  async function clientOf(handlers: Parameters<typeof httpApp>[0], first = ''): Promise<net.Socket> {
    const { port } = await reactor.listen(local, httpApp(handlers) as AttachHandlers)
    const client = net.connect(port, '127.0.0.1')
    await once(client, 'connect')
    if (first) {
      client.write(first)
      await once(client, 'data')
    }
    return client
  }

  for (const leaves of [true, false]) {
    it(`is heard to the last message of a WebSocket${leaves ? ', and to its close frame' : ''}`, async () => {
      const seen: string[] = []
      const closed = later<number>()
      const client = await clientOf(
        {
          websocket: {
            message: (_socket: ServerWebSocket, message: string | Uint8Array) => void seen.push(String(message)),
            close: (_socket: ServerWebSocket, code: number) => closed.resolve(code),
          },
        } as Parameters<typeof httpApp>[0],
        handshake(),
      )
      sayAndReset(client, Buffer.concat(many.map((text) => frame(1, text))), leaves ? closeFrame(1001) : '')
      expect(await closed.promise).to.equal(leaves ? 1001 : 1006)
      expect(seen).to.deep.equal(many)
    })
  }

  for (const [what, head, body] of [
    ['a length', 'Content-Length: 50000', 'x'.repeat(50_000)],
    ['chunks', 'Transfer-Encoding: chunked', `${'2710\r\n' + 'x'.repeat(10_000)}\r\n`.repeat(5) + '0\r\n\r\n'],
  ] as const) {
    it(`is heard to the end of a body with ${what}`, async () => {
      const got = later<number | string>()
      const client = await clientOf({
        fetch: async (request) => {
          got.resolve(await request.text().then((text) => text.length, String))
          return new Response('late')
        },
      })
      sayAndReset(client, `POST / HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n`, body)
      expect(await got.promise).to.equal(50_000)
    })
  }

  it('breaks off a body that is not complete', async () => {
    const got = later<string>()
    const client = await clientOf({
      fetch: async (request) => {
        got.resolve(
          await request.text().then(
            () => 'whole',
            (error: Error) => error.name,
          ),
        )
        return new Response('late')
      },
    })
    sayAndReset(client, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n', 'x'.repeat(40_000))
    expect(await got.promise).not.to.equal('whole')
  })

  for (const version of [1, 2] as const) {
    it(`is heard behind a PROXY header of version ${version}`, async () => {
      const seen: string[] = []
      const closed = later<string>()
      const { port } = await reactor.listen(
        { ...local, proxyProtocol: { from: ['127.0.0.0/8'] } },
        {
          framing: lines(),
          message: (conn, line) => void seen.push(`${conn.remoteAddress} ${String(line)}`),
          close: (_conn, reason) => closed.resolve(reason),
        },
      )
      const client = net.connect(port, '127.0.0.1')
      await once(client, 'connect')
      const source = { address: '192.0.2.1', port: 1 }
      sayAndReset(client, proxyHeader({ version, source, destination: source }), `${many.join('\n')}\n`)
      expect(await closed.promise).to.equal('reset')
      expect(seen).to.deep.equal(many.map((text) => `192.0.2.1 ${text}`))
    })
  }

  for (const answers of [false, true]) {
    it(`is heard by the other end of a pipe${answers ? ', whose bytes find out that it is gone' : ''}`, async () => {
      const behind = net.createServer()
      await new Promise<void>((resolve) => behind.listen(0, '127.0.0.1', resolve))
      const arrived = once(behind, 'connection') as Promise<[net.Socket]>
      const { port: farPort } = behind.address() as net.AddressInfo
      const target = await reactor.connect({ ...local, port: farPort }, { framing: lines() })
      const [far] = await arrived
      const { port } = await reactor.listen(local, {
        framing: lines(),
        message(conn) {
          conn.pipe(target)
          target.write('piped')
        },
      })
      let got = ''
      const fate = later<string>()
      far.on('error', (error: NodeJS.ErrnoException) => fate.resolve(String(error.code)))
      far.on('close', () => fate.resolve('close'))
      const client = net.connect(port, '127.0.0.1')
      client.write('hello\n')
      await once(far, 'data')
      far.on('data', (bytes: Buffer) => (got += bytes.toString()))
      if (answers) far.write('x'.repeat(1 << 20))
      sayAndReset(client, many.join('\n'))
      await fate.promise
      far.destroy()
      expect(got).to.equal(many.join('\n'))
      await new Promise((resolve) => behind.close(resolve))
    })
  }
})
