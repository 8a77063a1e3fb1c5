import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { blockBytes } from '../fixtures/memory-hooks.js'
import { type ServerPlan, type ServerProcess, withServer } from '../support/server-process.js'

// The numbers of docs/memory.md, measured. The fixed memory of a server cancels out: growth is taken between two counts of connections.
const kibibyte = 1 << 10
const mebibyte = 1 << 20

const idleBytes = documented('idle, no hooks')
const hooksBytes = documented('idle, with hooks')
const partBytes = documented('a frame in part')

/** Heaps of threads at rest shrink and grow by this much on their own. */
const noiseBytes = 384 * kibibyte

const few = 200
const many = 12_000
const windowSamples = 8
const sampleMs = 200
const stillBytes = 64 * kibibyte
const patience = 150

const execArgv = ['--import', new URL('../fixtures/memory-collect.js', import.meta.url).href]
const pool: ServerPlan = { app: 'memory-pool', reactors: 1, pool: 1, execArgv }
const hooks: ServerPlan = { app: 'memory-hooks', reactors: 1, pool: 0, execArgv }

describe('the memory of a connection is what docs/memory.md says', () => {
  for (const [name, plan, each, share] of [
    ['idle, without hooks', pool, idleBytes, 0.1],
    ['idle, with hooks', hooks, idleBytes + hooksBytes, 0.2],
  ] as const) {
    it(name, () =>
      withServer(plan, async (server) => {
        const peers = await connect(server, few)
        const before = await atRest(server, peers)
        peers.push(...(await connect(server, many - few)))
        const growth = (await atRest(server, peers)) - before
        console.log(`    ${(growth / (many - few)).toFixed(0)} bytes each, documented ${each}`)
        expect((await server.vitals()).stats.reactors[0]!.buffered).to.equal(0)
        expect(growth).to.be.closeTo(each * (many - few), share * each * (many - few) + noiseBytes)
        await close(server, peers)
      }),
    )
  }

  it('with half a frame', () =>
    withServer(pool, async (server) => {
      const count = 2_000
      const half = Buffer.alloc(8 * kibibyte, 'x')
      const peers = await connect(server, count)
      const before = await atRest(server, peers)
      for (const peer of peers) peer.write(half)
      const bytes = count * half.length
      const { stats } = await server.until('all received', (seen) => seen.stats.reactors[0]!.bytesRead === bytes)
      expect(stats.reactors[0]!.buffered, 'buffered').to.equal(bytes)
      const growth = (await atRest(server, peers)) - before
      console.log(`    ${(growth / count).toFixed(0)} bytes each, documented ${half.length + partBytes}`)
      expect(growth).to.be.closeTo(bytes + count * partBytes, 0.05 * bytes + noiseBytes)
      // A whole frame gives it back, to the allocator at least.
      for (const peer of peers) peer.write('\n')
      await server.until('nothing buffered', (seen) => seen.stats.reactors[0]!.buffered === 0)
      await close(server, peers)
    }))

  it('with replies that nobody reads', () =>
    withServer(hooks, async (server) => {
      const count = 16
      const blocks = 128
      const peers = await connect(server, count)
      for (const peer of peers) peer.pause()
      const before = await atRest(server, peers)
      for (const peer of peers) peer.write(`${blocks}\n`)
      const written = count * blocks * blockBytes
      // The bytes that the kernel did not take lie here, exactly.
      const { stats } = await server.until('all written', (seen) => {
        const { buffered, bytesWritten } = seen.stats.reactors[0]!
        return buffered + bytesWritten === written
      })
      const { buffered } = stats.reactors[0]!
      expect(buffered).to.be.above(16 * mebibyte)
      const growth = (await atRest(server, peers)) - before
      console.log(`    ${(growth / mebibyte).toFixed(1)} MiB for ${(buffered / mebibyte).toFixed(1)} MiB buffered`)
      // The block at the front is kept whole until its last byte has left.
      expect(growth).to.be.within(0.97 * buffered - noiseBytes, 1.03 * buffered + count * blockBytes + noiseBytes)
      await close(server, peers)
    }))

  it('goes back to the system when a flood is over, also from between what is still in use', () =>
    withServer(hooks, async (server) => {
      const count = 16
      const peers = await connect(server, 1)
      const before = await atRest(server, peers)
      const flood = await connect(server, count)
      for (const peer of flood) {
        peer.pause()
        peer.write('128\n')
      }
      await server.until('all of it buffered', (seen) => seen.stats.reactors[0]!.buffered > 24 * mebibyte)
      // Lies behind it in the allocator's arena, and stays.
      const half = Buffer.alloc(8 * kibibyte, 'x')
      const others = await connect(server, 64)
      for (const peer of others) peer.write(half)
      const kept = others.length * half.length
      await server.until('half a frame of each', (seen) => seen.stats.reactors[0]!.bytesRead >= kept)
      for (const peer of flood) peer.destroy()
      await server.until('the flood is gone', (seen) => seen.stats.reactors[0]!.buffered === kept)
      let growth = Number.POSITIVE_INFINITY
      for (let looks = 0; growth > 4 * mebibyte && looks < patience; looks++) {
        await sleep(sampleMs)
        growth = anonymousBytes(server.pid) - before - kept
      }
      expect(growth, 'bytes that stay').to.be.at.most(4 * mebibyte)
      await close(server, [...peers, ...others])
    }))
})

/** The number of a row of docs/memory.md. */
function documented(row: string): number {
  const page = readFileSync(fileURLToPath(new URL('../../../docs/memory.md', import.meta.url)), 'utf8')
  const bytes = new RegExp(`^\\| ${row} \\| ([\\d,]+) `, 'm').exec(page)?.[1]
  if (!bytes) throw new Error(`docs/memory.md has no row "${row}"`)
  return Number(bytes.replaceAll(',', ''))
}

async function connect(server: ServerProcess, count: number): Promise<net.Socket[]> {
  const sockets: net.Socket[] = []
  // No more at a time than the kernel queues for a listener.
  while (sockets.length < count) {
    const next = Array.from({ length: Math.min(200, count - sockets.length) }, () => net.connect(server.port, '127.0.0.1'))
    await Promise.all(next.map((socket) => once(socket, 'connect')))
    sockets.push(...next)
  }
  return sockets
}

async function close(server: ServerProcess, peers: net.Socket[]): Promise<void> {
  for (const peer of peers) peer.destroy()
  await server.until('all closed', (seen) => seen.stats.connections.open === 0)
}

/** Anonymous pages: code that runs for the first time is no cost of a connection. */
function anonymousBytes(pid: number): number {
  return Number(/^Anonymous:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) * kibibyte
}

/** Memory at rest, with every connection counted by the server, and the garbage of the hooks' thread collected. */
async function atRest(server: ServerProcess, peers: readonly net.Socket[]): Promise<number> {
  await server.until('all connected', (seen) => seen.stats.connections.open === peers.length)
  const samples: number[] = []
  // Not asked for anything meanwhile: answers are garbage, too.
  while (samples.length < patience) {
    await sleep(sampleMs)
    samples.push(anonymousBytes(server.pid))
    const now = median(samples.slice(-windowSamples))
    const then = median(samples.slice(-2 * windowSamples, -windowSamples))
    if (samples.length >= 2 * windowSamples && Math.abs(now - then) <= stillBytes) return now
  }
  throw new Error(`the memory of the server does not come to rest: ${samples.slice(-windowSamples).join(', ')}`)
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}
