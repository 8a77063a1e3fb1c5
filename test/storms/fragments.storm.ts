import { createHash } from 'node:crypto'
import { serve } from '@multireactor/core'
import { custom, delimiter, type Framing, fixed, lengthPrefixed, lines, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Random, stormSeed } from '../support/random.js'

const digits = custom((bytes) => {
  const size = bytes[0]! - 48
  return bytes.length < 1 + size ? { needed: 1 + size } : { consumed: 1 + size, frame: bytes.subarray(1, 1 + size) }
})
const bodies = ['a', '', 'bc', 'def\r', '', 'ghijkl', 'x'.repeat(9)]
const binary = (header: (size: number) => number[]) =>
  Buffer.concat(bodies.flatMap((body) => [Buffer.from(header(body.length)), Buffer.from(body)]))

/** The names are those of the listeners of the fixture int-framings. */
const cases: [name: string, framing: Framing, wire: Buffer, frames: string[]][] = [
  ['lines', lines({ maxBytes: 64 }), Buffer.from(bodies.map((body) => `${body}\r\n`).join('')), bodies],
  ['delimiter', delimiter('::', { maxBytes: 64 }), Buffer.from(bodies.map((body) => `${body}:${body}::`).join('')), []],
  ['fixed', fixed(5), Buffer.from('abcdefghijklmnopqrstuvwxy'), ['abcde', 'fghij', 'klmno', 'pqrst', 'uvwxy']],
  ['u8', lengthPrefixed({ type: 'u8', maxBytes: 64 }), binary((n) => [n]), bodies],
  ['u16le', lengthPrefixed({ type: 'u16le', maxBytes: 64 }), binary((n) => [n, 0]), bodies],
  ['u32be', lengthPrefixed({ maxBytes: 64 }), binary((n) => [0, 0, 0, n]), bodies],
  ['u64be', lengthPrefixed({ type: 'u64be', maxBytes: 64 }), binary((n) => [0, 0, 0, 0, 0, 0, 0, n]), bodies],
  ['varint', lengthPrefixed({ type: 'varint', maxBytes: 64 }), binary((n) => [0x80 | n, 0]), bodies],
  ['custom', digits, binary((n) => [48 + n]), bodies],
]
// A delimiter may stand at the edge of a body: the whole stream gives the expected cut, by the rule in the docs.
cases[1]![3] = cases[1]![2].toString().split('::').slice(0, -1)

/** Whole, split at each place, byte by byte, and at random. */
function manners(wire: Buffer, random: Random): number[][] {
  const all = Array.from({ length: wire.length - 1 }, (_, i) => i + 1)
  return [[], ...all.map((at) => [at]), all, ...Array.from({ length: 20 }, () => all.filter(() => random.below(3) === 0))]
}

describe('a stream in every fragmentation', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  for (const [name, framing, wire, expected] of cases) {
    it(`${name} gives message the same frames`, async () => {
      const random = new Random(stormSeed())
      await using reactor = new Reactor()
      let frames: string[] = []
      const { port } = await reactor.listen(
        { port: 0, host: '127.0.0.1' },
        { framing, message: (_, frame) => void frames.push(frame.toString()) },
      )
      for (const cuts of manners(wire, random)) {
        frames = []
        const client = await Client.connect(port)
        await send(client, wire, cuts, () => reactor.stats().bytesRead)
        client.socket.end()
        await client.untilClosed()
        expect(frames, `cut at ${cuts}`).to.deep.equal(expected)
      }
    })
  }

  for (const [name, framing, wire, expected] of cases) {
    it(`${name} gives message each frame once, when it pauses and resumes at each`, async () => {
      await using reactor = new Reactor()
      const frames: string[] = []
      const { port } = await reactor.listen(
        { port: 0, host: '127.0.0.1' },
        {
          framing,
          message(conn, frame) {
            frames.push(frame.toString())
            conn.pause()
            conn.resume()
          },
        },
      )
      const client = await Client.connect(port)
      // Twice: a frame that stuck comes out behind the next bytes.
      for (let round = 0; round < 2; round++) await send(client, wire, [], () => reactor.stats().bytesRead)
      client.socket.end()
      await client.untilClosed()
      expect(frames).to.deep.equal([...expected, ...expected])
    })
  }

  it('gives parse in the pool the same frames', async () => {
    const random = new Random(stormSeed())
    const inPool = cases.filter(([name]) => name !== 'custom')
    const listen = cases.map(([name]) => ({ port: 0, host: '127.0.0.1', name }))
    await using server = await serve({ app: app('int-framings'), listen, reactors: 1, pool: 1 })
    for (const [name, , wire, expected] of inPool) {
      const { port } = server.listeners.find((listener) => listener.name === name)!
      for (const cuts of manners(wire, random)) {
        const client = await Client.connect(port)
        await send(client, wire, cuts, () => server.stats().reactors[0]!.bytesRead)
        expect(await client.lines(expected.length), `${name} cut at ${cuts}`).to.deep.equal(expected.map(hashed))
        client.destroy()
      }
    }
  })
})

/** Each fragment has been read before the next one leaves, or the kernel would join them. */
async function send(client: Client, wire: Buffer, cuts: number[], bytesRead: () => number): Promise<void> {
  client.socket.setNoDelay(true)
  let from = 0
  for (const to of [...cuts, wire.length]) {
    const read = bytesRead() + to - from
    client.write(wire.subarray(from, to))
    while (bytesRead() < read) await new Promise(setImmediate)
    from = to
  }
}

function hashed(text: string): string {
  return `${text.length} ${createHash('sha1').update(text).digest('hex')}`
}
