import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import { type Server, serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { frame, handshake } from '../support/websocket.js'

const kibibyte = 1 << 10
const mebibyte = 1 << 20
const memory = 1 << 30
const pem = (name: string) => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url), 'utf8')

describe('a peer that reads gets all that it is owed', function () {
  this.timeout(120_000) // half a gibibyte goes through in some, on machines that are busy with other things
  let server: Server
  let before: ReturnType<typeof census>
  const sockets: net.Socket[] = []
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    await server.close({ timeoutMs: 500 })
    expectNothingLeft(before)
  })

  async function start(name: string, secure: boolean): Promise<net.Socket> {
    const listen = { port: 0, host: '127.0.0.1', ...(secure ? { tls: { cert: pem('first'), key: pem('first-key') } } : {}) }
    server = await serve({ app: app(`large-owed-${name}`), listen, reactors: 1, pool: 0, limits: { memory } })
    const where = { port: server.listeners[0]!.port!, host: '127.0.0.1' }
    const socket = secure ? tls.connect({ ...where, rejectUnauthorized: false }) : net.connect(where)
    socket.on('error', () => {}) // shows as missing bytes
    sockets.push(socket)
    await once(socket, secure ? 'secureConnect' : 'connect')
    return socket
  }

  /** Of so many replies, each of `bytes` bytes, every byte must tell the number of its reply. `found`: the bytes before a reply. */
  async function expectReplies(socket: net.Socket, count: number, bytes: number, head: (text: string) => number): Promise<void> {
    let reply = 0
    let left = 0
    let before = Buffer.alloc(0)
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      let at = 0
      while (at < chunk.length) {
        if (left === 0) {
          before = Buffer.concat([before, chunk.subarray(at)])
          const length = head(before.subarray(0, 4 * kibibyte).toString('latin1'))
          if (length < 0) break
          at = chunk.length - (before.length - length)
          before = Buffer.alloc(0)
          left = bytes
          continue
        }
        const part = chunk.subarray(at, at + left)
        const expected = 97 + (reply % 26)
        if (part[0] !== expected || part[part.length - 1] !== expected) expect.fail(`reply ${reply} holds bytes of another one`)
        at += part.length
        left -= part.length
        if (left === 0 && ++reply === count) return
      }
    }
    expect.fail(`the connection ended in reply ${reply} of ${count}, of which ${left} bytes are missing: ${reasons()}`)
  }
  const reasons = () =>
    JSON.stringify(Object.entries(server.stats().connections.closed).filter(([, connections]) => connections !== 0))

  const headEnd = (text: string) => (text.includes('\r\n\r\n') ? text.indexOf('\r\n\r\n') + 4 : -1)
  const chunkHead = (text: string) => {
    const end = /\r\n\r\n[0-9a-f]+\r\n/.exec(text)
    return end ? end.index + end[0].length : -1
  }
  const requests = (way: string, count: number, bytes: number) =>
    Array.from({ length: count }, (_, i) => `GET /${way}/${bytes}/${i} HTTP/1.1\r\nHost: a\r\n\r\n`).join('')

  for (const secure of [false, true]) {
    const over = secure ? 'over TLS' : 'in plaintext'

    for (const [name, way, count, bytes] of [
      ['http', 'end', 1, 256 * mebibyte],
      ['http', 'end', 1024, 64 * kibibyte],
      ['http', 'later', 1024, 64 * kibibyte],
      ['http', 'end', 20, mebibyte],
      ['http', 'later', 20, 4 * mebibyte],
      ['fetch', 'end', 1, 20 * mebibyte],
      ['fetch', 'end', 20, 2 * mebibyte],
      ['existing', 'end', 1, 64 * mebibyte],
      ['existing', 'end', 400, 64 * kibibyte],
    ] as const) {
      it(`${name}, ${way}: ${count} of ${bytes / kibibyte} KiB, pipelined, ${over}`, async () => {
        const socket = await start(name, secure)
        socket.write(requests(way, count, bytes))
        await expectReplies(socket, count, bytes, headEnd)
        expect(server.stats().connections.closed['slow-consumer']).to.equal(0)
      })
    }

    it(`http: a chunk of a stream of 20 MiB, and its end, ${over}`, async () => {
      const socket = await start('http', secure)
      socket.write(requests('chunk', 1, 20 * mebibyte) + requests('end', 1, 10))
      await expectReplies(socket, 1, 20 * mebibyte, chunkHead)
    })

    for (const [way, count, bytes] of [
      ['now', 1, 64 * mebibyte],
      ['now', 1024, 64 * kibibyte],
      ['now', 20, mebibyte],
      ['later', 20, mebibyte],
      ['later', 32, 2 * mebibyte],
      ['deferred', 20, mebibyte],
    ] as const) {
      it(`lines, ${way}: ${count} of ${bytes / kibibyte} KiB, pipelined, ${over}`, async () => {
        const socket = await start('lines', secure)
        socket.write(Array.from({ length: count }, (_, i) => `${way} ${bytes} ${i}\n`).join(''))
        await expectReplies(socket, count, bytes, () => 0)
        expect(server.stats().connections.closed['slow-consumer']).to.equal(0)
      })
    }

    it(`WebSocket: messages of 64 MiB, sent and echoed, ${over}`, async () => {
      const socket = await start('http', secure)
      const large = 64 * mebibyte
      socket.write(handshake())
      socket.write(frame(1, `send ${large}`))
      socket.write(frame(2, Buffer.alloc(large, 'e'), { mask: [0, 0, 0, 0] }))
      for (let i = 0; i < 20; i++) socket.write(frame(1, `later ${mebibyte}`))
      let received = 0
      const head = 'HTTP/1.1 101'.length
      let first = ''
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        if (first.length < head) first += chunk.subarray(0, head).toString()
        received += chunk.length
        if (received > 2 * large + 20 * mebibyte + 22 * 10) break
      }
      expect(first.slice(0, head)).to.equal('HTTP/1.1 101')
      expect(received, reasons()).to.be.above(2 * large + 20 * mebibyte + 22 * 10)
    })
  }
})
