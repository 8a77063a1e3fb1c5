import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Prober } from '../support/prober.js'
import { Random, stormSeed } from '../support/random.js'
import { type ServerPlan, type ServerProcess, withServer } from '../support/server-process.js'

const mebibyte = 1 << 20
/** More than the kernel's buffers on both sides hold. */
const eachBytes = 24 * mebibyte

const apps: [name: string, plan: ServerPlan, wire: (body: Buffer) => Buffer, request: string, replyBytes: number][] = [
  ['inline', { app: 'storm-echo', reactors: 1, pool: 0 }, (body) => body, 'hello', 5],
  ['pool', { app: 'storm-work', reactors: 1, pool: 1 }, asCommands, 'echo hello\n', 6],
]

describe('readers that are slow or never read', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  for (const [name, plan, wire, request, replyBytes] of apps) {
    for (const [count, bound] of [
      [1, 1.5 * mebibyte],
      [100, 64 * mebibyte],
    ] as const) {
      it(`${name}: ${count} that never read(s) stall, cost little memory and no one else, and get everything later`, async () => {
        const body = lineBytes(new Random(stormSeed()), eachBytes)
        const sent = wire(body)
        const hash = createHash('sha1').update(body).digest('hex')
        await withServer(plan, async (server) => {
          // The first round warms the heaps and the allocator up; only the second is judged.
          const warm = await stallAll(server, Math.min(count, 2), sent)
          await Promise.all(warm.map((peer) => peer.readAll(body.length, hash)))
          const prober = await Prober.start(server, request, replyBytes)
          const resident = await residentBytes(server)
          const peers = await stallAll(server, count, sent)
          const rss = await residentBytes(server)
          const { stats } = await server.vitals()
          const others = await prober.after(500)
          console.log(
            `    buffered ${stats.reactors[0]!.buffered / mebibyte} queue ${stats.queue.bytes / mebibyte} rss +${((rss - resident) / mebibyte).toFixed(2)} MiB, p99 of others ${others.p99} ms of CPU`,
          )
          expect(rss - resident, 'resident memory').to.be.at.most(bound)
          expect(others.p99, 'CPU of the server while others wait, p99').to.be.below(100)
          expect(stats.reactors[0]!.pausesByPeer, 'pauses').to.be.at.least(count)
          // Nothing of the rest was taken in.
          for (const peer of peers) expect(peer.socket.writableLength, 'unsent').to.be.above(0)
          // Groups, because our own side holds the bytes it reads.
          for (const peer of peers) await peer.readAll(body.length, hash)
          expect(prober.closed).to.equal(0)
          await prober.stop()
        })
      })
    }

    it(`${name}: a receive window of 4 KiB gets every byte, in order`, async () => {
      const program = fileURLToPath(new URL('../../support/slow_reader.py', import.meta.url))
      await withServer(plan, async (server) => {
        const args = [program, String(server.port), String(mebibyte), name === 'pool' ? 'echo ' : '']
        expect((await promisify(execFile)('python3', args)).stdout).to.equal('same')
      })
    })
  }
})

/** Without the garbage that the threads' collectors have not found yet. */
async function residentBytes(server: ServerProcess): Promise<number> {
  const client = await Client.connect(server.port)
  for (let i = 1; i <= 3; i++) {
    client.write('gc\n')
    await client.lines(i)
  }
  client.destroy()
  return (await server.vitals()).rss
}

class Stalling {
  readonly socket: net.Socket

  constructor(port: number) {
    this.socket = net.connect({ port, host: '127.0.0.1' })
    // Before it connects: otherwise Node reads the first 64 KiB ahead.
    this.socket.pause()
    // A reset shows as missing bytes.
    this.socket.on('error', () => {})
  }

  /** Reads to the last byte, then closes. */
  async readAll(size: number, hash: string): Promise<void> {
    expect(this.socket.destroyed, 'closed before it has read').to.equal(false)
    const seen = createHash('sha1')
    let received = 0
    this.socket.on('data', (chunk: Buffer) => {
      seen.update(chunk)
      received += chunk.length
      if (received >= size) this.socket.end()
    })
    this.socket.resume()
    await once(this.socket, 'close')
    expect(received).to.equal(size)
    expect(seen.digest('hex')).to.equal(hash)
  }
}

async function stallAll(server: ServerProcess, count: number, sent: Buffer): Promise<Stalling[]> {
  const peers = Array.from({ length: count }, () => new Stalling(server.port))
  await Promise.all(peers.map(({ socket }) => once(socket, 'connect')))
  for (const { socket } of peers) socket.write(sent)
  await untilNoneSends(peers, server)
  return peers
}

/** Each question to the server is a turn of our own loop: all possible sends are done when many of them changed nothing. */
async function untilNoneSends(peers: Stalling[], server: ServerProcess): Promise<void> {
  const row = () => peers.map(({ socket }) => Number((socket as { _handle?: { bytesWritten: number } })._handle?.bytesWritten))
  for (let same = 0, seen = ''; same < 200; ) {
    const { stats } = await server.vitals()
    const now = `${row()} ${stats.reactors[0]!.pausesByPeer}`
    same = now === seen ? same + 1 : 0
    seen = now
  }
}

/** Letters and a newline at every 1,000th: bytes for one app, lines for the other. */
function lineBytes(random: Random, size: number): Buffer {
  const block = Buffer.from(random.bytes(997_000).toString('base64').slice(0, 997_000), 'latin1')
  const body = Buffer.alloc(Math.ceil(size / 1_000) * 1_000, block)
  for (let at = 999; at < body.length; at += 1_000) body[at] = 10
  return body
}

function asCommands(body: Buffer): Buffer {
  const command = Buffer.from('echo ')
  const parts: Buffer[] = []
  for (let at = 0; at < body.length; at += 1_000) parts.push(command, body.subarray(at, at + 1_000))
  return Buffer.concat(parts)
}
