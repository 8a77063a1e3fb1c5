import { GrowingBytes, WaitingBytes } from '@multireactor/reactor/parts'
import { expect } from 'chai'
import { HttpServer } from '../support/http.js'
import { census, expectNothingLeft } from '../support/leaks.js'

/** Memory that counts how much was asked for, and how often. */
function counted(): { allocate(bytes: number): Buffer; bytes: number; times: number } {
  const count = {
    bytes: 0,
    times: 0,
    allocate(bytes: number): Buffer {
      count.bytes += bytes
      count.times++
      return Buffer.alloc(bytes)
    },
  }
  return count
}

const text = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => (i * 7) & 0xff))

describe('bytes that wait in JavaScript', () => {
  it('are joined: 65,536 pieces of one byte are a few pieces in twice their size of counted memory', () => {
    const memory = counted()
    const waiting = new WaitingBytes(memory.allocate)
    const all = text(65_536)
    for (let i = 0; i < all.length; i++) waiting.push(all.subarray(i, i + 1))
    expect(waiting.length).to.equal(all.length)
    expect(memory.bytes).to.be.at.most(2 * all.length + 4_096)
    const out: Buffer[] = []
    for (let piece = waiting.shift(); piece; piece = waiting.shift()) out.push(piece)
    expect(out.length).to.be.at.most(4)
    expect(Buffer.concat(out).equals(all)).to.equal(true)
    expect(waiting.length).to.equal(0)
  })

  it('of 1 MiB become one whole in memory of its size, asked for once, when the pieces are large', () => {
    const memory = counted()
    const waiting = new WaitingBytes(memory.allocate, 16 << 10)
    const all = text(1 << 20)
    for (let at = 0; at < all.length; at += 16 << 10) waiting.push(all.subarray(at, at + (16 << 10)))
    expect(waiting.join().equals(all)).to.equal(true)
    expect([memory.bytes, memory.times, waiting.length]).to.deep.equal([1 << 20, 1, 0])
    // Smaller ones are copied first, into blocks; one piece is its own whole.
    for (let at = 0; at < all.length; at += 1 << 10) waiting.push(all.subarray(at, at + (1 << 10)))
    expect(waiting.join().equals(all)).to.equal(true)
    expect(memory.bytes).to.be.at.most(4.1 * (1 << 20))
    waiting.push(all)
    expect([waiting.join() === all, waiting.join().length]).to.deep.equal([true, 0])
  })

  it('keep their order, whatever the sizes, and what was taken is never written again', () => {
    const memory = counted()
    const waiting = new WaitingBytes(memory.allocate)
    const all = text(300_000)
    const sizes = [1, 5_000, 3, 4_095, 4_096, 70_000, 2, 100]
    const out: Buffer[] = []
    const copies: Buffer[] = []
    for (let at = 0, i = 0; at < all.length; i++) {
      const size = sizes[i % sizes.length]!
      waiting.push(all.subarray(at, at + size))
      at += size
      const piece = i % 3 === 0 ? waiting.shift() : undefined
      if (piece) {
        out.push(piece)
        copies.push(Buffer.from(piece))
      }
    }
    for (let piece = waiting.shift(); piece; piece = waiting.shift()) {
      out.push(piece)
      copies.push(Buffer.from(piece))
    }
    expect(Buffer.concat(out).equals(all)).to.equal(true)
    expect(Buffer.concat(copies).equals(all)).to.equal(true)
  })

  it('are collected in memory that doubles: a megabyte of one-byte pieces asks for it twenty times at most', () => {
    const memory = counted()
    const growing = new GrowingBytes(memory.allocate, Infinity)
    const all = text(1 << 20)
    for (let i = 0; i < all.length; i++) growing.push(all.subarray(i, i + 1))
    expect(memory.times).to.be.at.most(20)
    expect(growing.bytes.equals(all)).to.equal(true)
  })
})

describe('an HTTP body of chunks of one byte', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))
  const body = text(60_000).toString('latin1').replaceAll(/./gs, 'x')
  const request = `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(60_000)}0\r\n\r\n`

  it('that nobody reads waits in a few pieces', async () => {
    let pieces = 0
    let bytes = 0
    const server = await HttpServer.start({
      async request(req, res) {
        // Until all that is taken without a reader has come.
        for (let last = -1; ; ) {
          for (let i = 0; i < 50; i++) await new Promise(setImmediate)
          const read = server.reactor.stats().bytesRead
          if (read === last) break
          last = read
        }
        const iterator = req[Symbol.asyncIterator]()
        const first = await iterator.next()
        pieces++
        bytes += (first.value as Buffer).length
        for await (const piece of iterator) {
          pieces++
          bytes += piece.length
        }
        res.end(`${bytes}`)
      },
    })
    expect(await server.exchange(request)).to.match(/\r\n\r\n60000$/)
    // One piece for each chunk would be 60,000.
    expect(pieces).to.be.below(200)
    await server.close()
  })

  it('is whole for bytes(), text() and fetch', async () => {
    const own = await HttpServer.start({ request: async (req, res) => void res.end(`${(await req.text()) === body}`) })
    expect(await own.exchange(request)).to.match(/true$/)
    await own.close()
    const fetch = await HttpServer.start({ fetch: async (req) => new Response(`${(await req.text()) === body}`) })
    expect(await fetch.exchange(request)).to.match(/true$/)
    await fetch.close()
  })
})
