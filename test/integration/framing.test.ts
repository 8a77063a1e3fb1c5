import { createHash } from 'node:crypto'
import { native } from '@multireactor/addon'
import { serve } from '@multireactor/core'
import { custom, delimiter, type Framing, fixed, lengthPrefixed, lines, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const digits = custom(
  (bytes) => {
    const size = bytes[0]! - 48
    if (size < 0 || size > 9) throw new Error('no digit')
    return bytes.length < 1 + size ? { needed: 1 + size } : { consumed: 1 + size, frame: bytes.subarray(1, 1 + size) }
  },
  { maxBytes: 64 },
)
const cases: [name: string, framing: Framing, wire: Buffer, frames: string[]][] = [
  ['lines', lines({ maxBytes: 64 }), Buffer.from('a\r\n\nbc\rd\r\n\r\nlast\n'), ['a', '', 'bc\rd', '', 'last']],
  ['delimiter', delimiter('::', { maxBytes: 64 }), Buffer.from('a:b::::c::'), ['a:b', '', 'c']],
  ['fixed', fixed(5), Buffer.from('abcdefghij'), ['abcde', 'fghij']],
  ['u8', lengthPrefixed({ type: 'u8', maxBytes: 64 }), Buffer.from('\x01a\x00\x03bcd'), ['a', '', 'bcd']],
  ['u16le', lengthPrefixed({ type: 'u16le', maxBytes: 64 }), Buffer.from('\x01\x00a\x00\x00\x03\x00bcd'), ['a', '', 'bcd']],
  ['u32be', lengthPrefixed({ maxBytes: 32 << 20 }), Buffer.from('\0\0\0\x01a\0\0\0\0\0\0\0\x03bcd'), ['a', '', 'bcd']],
  ['u64be', lengthPrefixed({ type: 'u64be', maxBytes: 64 }), Buffer.from('\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\0'), ['a', '']],
  ['varint', lengthPrefixed({ type: 'varint', maxBytes: 64 }), Buffer.from([1, 97, 0, 0x82, 0, 98, 99]), ['a', '', 'bc']],
  [
    'header',
    lengthPrefixed({ type: 'u16be', offset: 2, includesHeader: true, strip: 0, maxBytes: 64 }),
    Buffer.from('XY\0\x05aZZ\0\x04'),
    ['XY\0\x05a', 'ZZ\0\x04'],
  ],
  ['custom', digits, Buffer.from('1a03bcd'), ['a', '', 'bcd']],
]
const manners: [name: string, pieces: (wire: Buffer) => Buffer[]][] = [
  ['whole', (wire) => [wire]],
  ['in two', (wire) => [wire.subarray(0, wire.length >> 1), wire.subarray(wire.length >> 1)]],
  ['byte by byte', (wire) => [...wire].map((byte) => Buffer.from([byte]))],
]

describe('framing', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('changes as often as a peer likes, to what no connection has had before', async () => {
    await using reactor = new Reactor()
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      {
        framing: lines(),
        message: (conn, frame) => {
          for (let i = 0; i < 70_000; i++) conn.setFraming(delimiter(`${frame}${i}`))
          conn.write('done')
        },
      },
    )
    const client = await Client.connect(port)
    client.write('end\nof the second frame end69999')
    expect((await client.bytes(8)).toString()).to.equal('donedone')
    client.destroy()
  })

  it('goes on with the slab it receives into after a frame so large that it has one of its own', async () => {
    await using reactor = new Reactor()
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      { framing: lines({ maxBytes: 1 << 20 }), message: (conn, frame) => void conn.write(`${frame.length}\n`) },
    )
    const small = await Client.connect(port)
    const large = await Client.connect(port)
    for (let round = 1; round <= 3; round++) {
      small.write('abc\n')
      await small.lines(round)
      large.write(`${'x'.repeat(200_000)}\n`)
      await large.lines(round)
    }
    expect(await small.lines(3)).to.deep.equal(['3', '3', '3'])
    expect(await large.lines(3)).to.deep.equal(['200000', '200000', '200000'])
    small.socket.end()
    large.socket.end()
    await Promise.all([small.untilClosed(), large.untilClosed()])
  })

  for (const [name, framing, wire, expected] of cases) {
    it(`${name} gives message the same frames whole, split and byte by byte`, async () => {
      await using reactor = new Reactor()
      let frames: string[] = []
      const { port } = await reactor.listen(
        { port: 0, host: '127.0.0.1' },
        { framing, message: (_, frame) => void frames.push(frame.toString()) },
      )
      for (const [manner, pieces] of manners) {
        frames = []
        const client = await Client.connect(port)
        client.socket.setNoDelay(true)
        await send(client, pieces(wire), () => reactor.stats().bytesRead)
        client.socket.end()
        await client.untilClosed()
        expect(frames, manner).to.deep.equal(expected)
      }
    })
  }

  it('gives parse in the pool the same frames, for every framing', async () => {
    const listen = cases.map(([name]) => ({ port: 0, host: '127.0.0.1', name }))
    await using server = await serve({ app: app('int-framings'), listen, reactors: 1, pool: 1 })
    for (const [i, [name, , wire, expected]] of cases.entries()) {
      for (const [manner, pieces] of manners) {
        const client = await Client.connect(server.listeners[i]!.port)
        client.socket.setNoDelay(true)
        await send(client, pieces(wire), () => server.stats().reactors[0]!.bytesRead)
        expect(await client.lines(expected.length), `${name} ${manner}`).to.deep.equal(
          expected.map((text) => hashed(Buffer.from(text))),
        )
        client.destroy()
      }
    }
  })

  const x = (count: number) => Buffer.alloc(count, 'x')
  const limits: [name: string, framing: Framing, most: Buffer, over: Buffer][] = [
    ['lines', lines({ maxBytes: 64 }), Buffer.concat([x(64), Buffer.from('\n')]), Buffer.concat([x(65), Buffer.from('\n')])],
    [
      'delimiter',
      delimiter('::', { maxBytes: 64 }),
      Buffer.concat([x(64), Buffer.from('::')]),
      Buffer.concat([x(65), Buffer.from('::')]),
    ],
    ['u8', lengthPrefixed({ type: 'u8', maxBytes: 64 }), Buffer.concat([Buffer.from([64]), x(64)]), Buffer.from([65])],
    ['varint', lengthPrefixed({ type: 'varint', maxBytes: 64 }), Buffer.concat([Buffer.from([64]), x(64)]), Buffer.from([65])],
    [
      'u32be of 4 GiB',
      lengthPrefixed({ maxBytes: 64 }),
      Buffer.concat([Buffer.from([0, 0, 0, 64]), x(64)]),
      Buffer.from([255, 255, 255, 255]),
    ],
    [
      'u64be',
      lengthPrefixed({ type: 'u64be', maxBytes: 64 }),
      Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 0, 0, 64]), x(64)]),
      Buffer.alloc(8, 255),
    ],
    [
      'custom',
      custom(
        (bytes) =>
          bytes.includes(10) ? { consumed: bytes.indexOf(10) + 1, frame: bytes.subarray(0, bytes.indexOf(10)) } : undefined,
        { maxBytes: 64 },
      ),
      Buffer.concat([x(64), Buffer.from('\n')]),
      Buffer.concat([x(65), Buffer.from('\n')]),
    ],
  ]
  for (const [name, framing, most, over] of limits) {
    it(`${name} passes a frame of exactly maxBytes, and closes as frame-too-large one byte above`, async () => {
      await using reactor = new Reactor()
      let reason = ''
      const { port } = await reactor.listen(
        { port: 0, host: '127.0.0.1' },
        {
          framing,
          message: (conn, frame) => void conn.write(`${frame.length}\n`),
          close(_, why) {
            reason = why
          },
        },
      )
      const resident = process.memoryUsage().rss
      const client = await Client.connect(port)
      client.write(most)
      expect(await client.lines(1)).to.deep.equal(['64'])
      client.write(over)
      await client.untilClosed()
      while (reason === '') await new Promise(setImmediate)
      expect(reason).to.equal('frame-too-large')
      expect(process.memoryUsage().rss - resident).to.be.below(64 << 20)
    })
  }

  it('custom: maps and copies no more than a few times what comes, in however small pieces', async () => {
    const newSlab = native.newSlab
    let mapped = 0
    native.newSlab = (runtime, size) => {
      mapped += size
      return newSlab(runtime, size)
    }
    // Bytes of memory for a frame that comes in so many pieces of 4 KiB.
    const costOf = async (pieces: number): Promise<number> => {
      await using reactor = new Reactor()
      const piece = Buffer.alloc(4 << 10, 'piece of a frame ')
      let shown!: () => void
      let first: Buffer | undefined
      let whole: string | undefined
      const { port } = await reactor.listen(
        { port: 0, host: '127.0.0.1' },
        {
          framing: custom(
            (bytes) => {
              if (bytes.length < pieces * piece.length) first = bytes.length === 2 * piece.length ? bytes : first
              setImmediate(shown)
              return bytes.length < pieces * piece.length ? undefined : { consumed: bytes.length, frame: bytes }
            },
            { maxBytes: 16 << 20 },
          ),
          message(_conn, frame) {
            whole = hashed(frame)
          },
        },
      )
      const client = await Client.connect(port)
      const before = mapped
      for (let i = 0; i < pieces; i++) {
        const seen = new Promise<void>((resolve) => {
          shown = resolve
        })
        client.write(piece)
        await seen
      }
      client.destroy()
      expect(whole).to.equal(hashed(Buffer.concat(Array(pieces).fill(piece))))
      // Bytes shown before have not been overwritten.
      expect(hashed(first!)).to.equal(hashed(Buffer.concat([piece, piece])))
      return mapped - before
    }
    try {
      const once = await costOf(256)
      expect(await costOf(512)).to.be.below(2.3 * once)
      expect(once).to.be.below(8 * (256 << 12))
    } finally {
      native.newSlab = newSlab
    }
  })

  it('custom: a hook that pauses, or changes the framing and back, loses nothing of what its framer has been shown', async () => {
    // Two bytes of length, then so many bytes; the framer never says how many it needs.
    const cut = (bytes: Buffer): { consumed: number; frame: Buffer } | undefined => {
      const end = bytes.length < 2 ? 2 : 2 + bytes.readUInt16BE(0)
      return bytes.length < end ? undefined : { consumed: end, frame: bytes.subarray(2, end) }
    }
    const framing = custom(cut, { maxBytes: 1 << 17 })
    const sent: string[] = []
    const wire: Buffer[] = []
    for (let i = 0; i < 60; i++) {
      const body = Buffer.alloc(1 + ((i * 7_919) % 40_000), `${i} `)
      const header = Buffer.alloc(2)
      header.writeUInt16BE(body.length)
      wire.push(header, body, Buffer.from(i % 5 === 4 ? `line ${i}\n` : ''))
      sent.push(hashed(body), ...(i % 5 === 4 ? [`line ${i}`] : []))
    }
    await using reactor = new Reactor()
    const got: string[] = []
    let frames = 0
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      {
        framing,
        message(conn, frame) {
          if (frame.toString('latin1').startsWith('line ')) {
            got.push(frame.toString())
            return conn.setFraming(framing)
          }
          got.push(hashed(frame))
          if (++frames % 5 === 0) conn.setFraming(lines())
          if (frames % 3 !== 0) return
          conn.pause()
          setImmediate(() => conn.resume())
        },
      },
    )
    const client = await Client.connect(port)
    const all = Buffer.concat(wire)
    for (let at = 0, i = 0; at < all.length; at += 5_003 + 31 * i++) {
      client.write(all.subarray(at, at + 5_003 + 31 * i))
      await new Promise(setImmediate)
    }
    while (got.length < sent.length && !client.closed) await new Promise(setImmediate)
    client.destroy()
    expect(got).to.deep.equal(sent)
  })

  it('carries a frame of 20 MiB to message and to parse', async () => {
    const body = Buffer.alloc(20 << 20, 'abcdefg')
    const header = Buffer.alloc(4)
    header.writeUInt32BE(body.length)
    {
      await using reactor = new Reactor()
      const { port } = await reactor.listen(
        { port: 0, host: '127.0.0.1' },
        { framing: lengthPrefixed({ maxBytes: 20 << 20 }), message: (conn, frame) => void conn.write(`${hashed(frame)}\n`) },
      )
      const client = await Client.connect(port)
      client.write(header)
      client.write(body)
      expect(await client.lines(1)).to.deep.equal([hashed(body)])
      client.destroy()
    }
    await using server = await serve({
      app: app('int-framings'),
      listen: [{ port: 0, host: '127.0.0.1', name: 'u32be' }],
      reactors: 1,
      pool: 1,
    })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write(header)
    client.write(body)
    expect(await client.lines(1)).to.deep.equal([hashed(body)])
    client.destroy()
  })

  it('closes as malformed-frame when a custom framer throws, and reports it', async () => {
    const errors: unknown[] = []
    await using reactor = new Reactor({ onError: (error) => void errors.push(error) })
    const closed: string[] = []
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      { framing: digits, message() {}, close: (_, reason) => void closed.push(reason) },
    )
    const client = await Client.connect(port)
    client.write('1ax')
    await client.untilClosed()
    while (closed.length === 0) await new Promise(setImmediate)
    expect(closed).to.deep.equal(['malformed-frame'])
    expect((errors[0] as Error).message).to.equal('no digit')
  })
})

/** Every piece is written when the one before it has been read by the server, so that none travel together. */
async function send(client: Client, pieces: Buffer[], bytesRead: () => number): Promise<void> {
  let expected = bytesRead()
  for (const piece of pieces) {
    client.write(piece)
    expected += piece.length
    while (bytesRead() < expected) await new Promise(setImmediate)
  }
}

const hashed = (frame: Buffer): string => `${frame.length} ${createHash('sha1').update(frame).digest('hex')}`
