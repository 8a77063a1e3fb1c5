import { type ConnectionDuplex, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

/** The internals of a readable. */
interface Inside {
  _readableState: { buffer: { length: number } }
}

describe('a toDuplex() stream that nobody reads', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  /** A stream whose peer has sent these pieces one by one. */
  async function withPieces(
    pieces: readonly (string | Buffer)[],
    work: (stream: ConnectionDuplex, client: Client) => Promise<void>,
    beforePieces: (stream: ConnectionDuplex) => void = () => {},
  ): Promise<void> {
    await using reactor = new Reactor()
    let stream: ConnectionDuplex | undefined
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      {
        open(conn) {
          stream = conn.toDuplex()
        },
        message() {},
      },
    )
    const client = await Client.connect(port)
    client.socket.setNoDelay(true)
    while (!stream) await new Promise(setImmediate)
    beforePieces(stream)
    let sent = 0
    for (const piece of pieces) {
      client.write(piece)
      sent += piece.length
      while (stream.bytesRead < sent) await new Promise(setImmediate)
    }
    await work(stream, client)
    client.destroy()
  }
  const digits = Array.from({ length: 2_000 }, (_, i) => `${i % 10}`)

  it('keeps pieces of one byte joined, and gives them in order to whoever reads then', async () => {
    await withPieces(digits, async (stream, client) => {
      expect((stream as unknown as Inside)._readableState.buffer.length).to.be.at.most(2)
      client.socket.end('end')
      let text = ''
      for await (const chunk of stream) text += String(chunk)
      expect(text).to.equal(`${digits.join('')}end`)
      stream.end()
      await client.until((one) => one.ended)
    })
  })

  it('takes no more than its high water mark from the peer', async () => {
    await withPieces(['x'], async (stream, client) => {
      client.write(Buffer.alloc(8 << 20))
      let read = -1
      while (read !== stream.bytesRead) {
        read = stream.bytesRead
        for (let i = 0; i < 50; i++) await new Promise(setImmediate)
      }
      expect(read).to.be.at.most(stream.readableHighWaterMark + (256 << 10))
      let bytes = 0
      stream.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      while (bytes < (8 << 20) + 1) await new Promise(setImmediate)
    })
  })

  it('answers a reader that asks for more bytes than have come', async () => {
    const got: string[] = []
    await withPieces(
      digits.slice(0, 50),
      async () => {
        while (got.length < 5) await new Promise(setImmediate)
        expect(got.join('')).to.equal(digits.slice(0, 50).join(''))
      },
      (stream) =>
        stream.on('readable', () => {
          for (let piece = stream.read(10) as Buffer | null; piece; piece = stream.read(10) as Buffer | null) {
            got.push(piece.toString())
          }
        }),
    )
  })

  it('keeps the order of small and large pieces', async () => {
    const pieces = ['a', 'b', 'c'.repeat(5_000), 'd', 'e'.repeat(6_000), 'f']
    await withPieces(pieces, async (stream) => {
      let text = ''
      stream.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      while (text.length < pieces.join('').length) await new Promise(setImmediate)
      expect(text).to.equal(pieces.join(''))
    })
  })
})
