import { expect } from 'chai'
import { limit } from '../fixtures/storm-frames.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Random, stormSeed } from '../support/random.js'
import { ServerProcess } from '../support/server-process.js'

const listeners = ['lines', 'u32be', 'u64be'] as const
type Framing = (typeof listeners)[number]
const peers = 50
/** Limit for hangs. */
const settledWithinMs = 60_000

describe('hostile frames', () => {
  const before = census()
  let server: ServerProcess

  beforeEach(async () => {
    server = await ServerProcess.start({ app: 'storm-frames', listeners: [...listeners], reactors: 2, pool: 0 })
  })
  afterEach(async () => {
    await server.kill()
    expectNothingLeft(before)
  })
  const connect = (framing: Framing) => Client.connect(server.ports[listeners.indexOf(framing)]!)

  const u32 = (length: number) => {
    const header = Buffer.alloc(4)
    header.writeUInt32BE(length)
    return header
  }
  const u64 = (length: bigint) => {
    const header = Buffer.alloc(8)
    header.writeBigUInt64BE(length)
    return header
  }
  const x = (count: number) => Buffer.alloc(count, 'x')

  const echoes: [name: string, framing: Framing, wire: Buffer, frame: Buffer][] = [
    ['a frame of 0 bytes (u32be)', 'u32be', u32(0), x(0)],
    ['a frame of 0 bytes (u64be)', 'u64be', u64(0n), x(0)],
    ['an empty line', 'lines', Buffer.from('\n'), x(0)],
    ['a frame at the limit (u32be)', 'u32be', Buffer.concat([u32(limit), x(limit)]), x(limit)],
    ['a frame at the limit (u64be)', 'u64be', Buffer.concat([u64(BigInt(limit)), x(limit)]), x(limit)],
    ['a line at the limit', 'lines', Buffer.concat([x(limit), Buffer.from('\n')]), x(limit)],
  ]
  for (const [name, framing, wire, frame] of echoes) {
    it(`${name} is answered, and so is what follows`, async () => {
      const client = await connect(framing)
      const expected = Buffer.concat([Buffer.from(`${frame.length}\n`), frame])
      for (let round = 1; round <= 3; round++) {
        client.write(wire)
        await withinTime(client.bytes(round * expected.length))
      }
      expect(client.received.equals(Buffer.concat([expected, expected, expected]))).to.equal(true)
      client.destroy()
      await server.close()
    })
  }

  const tooLarge: [name: string, framing: Framing, wire: Buffer][] = [
    ['limit + 1 (u32be)', 'u32be', u32(limit + 1)],
    ['2^31 (u32be)', 'u32be', u32(2 ** 31)],
    ['2^32 - 1 (u32be)', 'u32be', u32(2 ** 32 - 1)],
    ['limit + 1 (u64be)', 'u64be', u64(BigInt(limit) + 1n)],
    ['2^31 (u64be)', 'u64be', u64(2n ** 31n)],
    ['2^32 (u64be)', 'u64be', u64(2n ** 32n)],
    ['2^32 + 5 (u64be)', 'u64be', u64(2n ** 32n + 5n)],
    ['2^63 (u64be)', 'u64be', u64(2n ** 63n)],
    ['2^64 - 1 (u64be)', 'u64be', u64(2n ** 64n - 1n)],
  ]
  for (const [name, framing, header] of tooLarge) {
    it(`a length of ${name} closes as frame-too-large, and reserves nothing`, async () => {
      // With bytes behind it, that must not be taken for frames.
      // A reservation of the limit for each of the fifty would be 50 MiB; heaps and stacks move by one or two.
      await expectClosed(framing, Buffer.concat([header, Buffer.from('\0\0\0\0\0\0\0\x01a')]), 'frame-too-large', 4 * limit)
    })
  }

  it('a line without end closes as frame-too-large, at the limit', async () => {
    const endless = x(limit + 1)
    await expectClosed('lines', endless, 'frame-too-large', 3 * limit, 1)
    await server.kill()
  })

  it('garbage is answered as frames, or closes with a reason of the framing', async () => {
    const random = new Random(stormSeed())
    for (const framing of listeners) {
      const clients = await Promise.all(Array.from({ length: peers }, () => connect(framing)))
      for (const client of clients) client.socket.end(random.bytes(100_000))
      await withinTime(Promise.all(clients.map((client) => client.untilClosed())))
    }
    const { stats, counts, errorCount } = await server.until('closed', ({ counts }) => counts[1] === 3 * peers)
    const { end, reset, ...others } = stats.connections.closed
    expect([counts[0], counts[2], errorCount]).to.deep.equal([3 * peers, 0, 0])
    expect(end + reset + others['frame-too-large'] + others['malformed-frame']).to.equal(3 * peers)
    expect(others['frame-too-large']).to.be.above(0)
    await server.close()
  })

  it('a close in the middle of a frame delivers nothing of it', async () => {
    for (const [framing, part] of [
      ['u32be', Buffer.concat([u32(100), x(99)])],
      ['u32be', u32(100).subarray(0, 3)],
      ['u64be', Buffer.concat([u64(100n), x(1)])],
      ['lines', x(100)],
    ] as const) {
      const clients = await Promise.all(Array.from({ length: peers }, () => connect(framing)))
      for (const client of clients) client.socket.end(part)
      await withinTime(Promise.all(clients.map((client) => client.untilClosed())))
      for (const { received, error } of clients) expect([received.length, error]).to.deep.equal([0, undefined])
    }
    const { stats, errorCount } = await server.until('closed', ({ counts }) => counts[1] === 4 * peers)
    expect([stats.connections.closed.end, errorCount]).to.deep.equal([4 * peers, 0])
    await server.close()
  })

  /** `peers` connections send `wire` at once; each is closed for `reason`, gets nothing, and all cost at most `bound` bytes. */
  async function expectClosed(framing: Framing, wire: Buffer, reason: 'frame-too-large', bound: number, count = peers) {
    // The first round warms the server up.
    for (let round = 1; round <= 2; round++) {
      const clients = await Promise.all(Array.from({ length: count }, () => connect(framing)))
      const resident = (await server.vitals()).rss
      for (const client of clients) client.write(wire)
      await withinTime(Promise.all(clients.map((client) => client.untilClosed())))
      for (const { received } of clients) expect(received.length).to.equal(0)
      const { stats, rss } = await server.until('closed', ({ counts }) => counts[1] === round * count)
      expect(stats.connections.closed[reason]).to.equal(round * count)
      if (round === 2) expect(rss - resident, 'resident memory').to.be.at.most(bound)
    }
  }
})

/** The limit of a promise that comes from the other side. */
async function withinTime(promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`neither answered nor closed within ${settledWithinMs} ms`)), settledWithinMs)
  })
  await Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
