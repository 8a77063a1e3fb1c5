import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { expect } from 'chai'
import { Burners } from '../support/burners.js'
import { cpuMsOf, threadCpuMsOf } from '../support/cpu.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { quantile } from '../support/prober.js'
import { stormSeed } from '../support/random.js'
import { ServerProcess } from '../support/server-process.js'

const mebibyte = 1 << 20
const limit = 128 * mebibyte
/**
 * Beside it, for what the allocator keeps between the blocks that are held, and what the collectors of four threads have not come to. 64 MiB are
 * the aim and not reached; see docs/memory.md.
 */
const heaps = 256 * mebibyte
const windowMs = 5_000
const windows = Number(process.env['STORM_SECONDS'] ?? 60) / 5
/** addon/native/src/reactor/turn_budget.h: the budget, and the step at which it ends. */
const turnBytes = 4 * mebibyte
const mostStepBytes = 2 * mebibyte
const turnCpuNs = 8_000_000
const mostStepCpuNs = 8_000_000

const certificates = new URL('../../existing/certificates/', import.meta.url)
const pem = (name: string): string => readFileSync(new URL(`${name}.pem`, certificates), 'utf8')

describe('hostile peers of every kind, in every protocol', () => {
  const before = census()
  const folder = mkdtempSync(path.join(tmpdir(), 'mix-'))
  let server: ServerProcess | undefined
  let burners: Burners | undefined
  const threads: Worker[] = []

  after(async () => {
    await burners?.stop()
    await server?.kill()
    for (const thread of threads) await thread.terminate()
    rmSync(folder, { recursive: true })
    expectNothingLeft(before)
  })

  it('take no more than the memory and the turns they are given, and a polite neighbour is answered', async () => {
    const seed = stormSeed()
    const tls = { cert: pem('first'), key: pem('first-key') }
    const listeners = [
      { name: 'hooks' },
      { name: 'lines', app: 'mix-work' },
      { name: 'raw' },
      { name: 'prefixed' },
      { name: 'custom' },
      { name: 'unix', path: path.join(folder, 'socket') },
      { name: 'http', app: 'mix-http' },
      { name: 'fetch', app: 'mix-fetch' },
      { name: 'pool', app: 'mix-pool' },
      { name: 'websocket', app: 'mix-http' },
      { name: 'resp', app: 'mix-resp' },
      { name: 'existing', app: 'mix-existing' },
      { name: 'tls-lines', tls },
      { name: 'tls-http', app: 'mix-http', tls },
    ]
    server = await ServerProcess.start({ app: 'mix-hooks', listeners, reactors: 2, pool: 2, limits: { memory: limit } })
    const { pid, ports } = server
    const targets = Object.fromEntries(listeners.map(({ name, path }, i) => [name, path ?? ports[i]!]))

    const neighbour = new Worker(new URL('../support/neighbour-thread.js', import.meta.url), {
      workerData: { port: ports[0], request: '6 hello\n', replyBytes: 8, connections: 4 },
    })
    threads.push(neighbour)
    const read = async (): Promise<{ waits: number[]; closed: number }> => {
      neighbour.postMessage('read')
      return ((await once(neighbour, 'message')) as [{ waits: number[]; closed: number }])[0]
    }
    /** One window: its p99 of the neighbour, the CPU of both processes in cores, and the most that was resident. */
    const watch = async (): Promise<{ p99: number; answers: number; cores: number; rss: number }> => {
      await read()
      const cpu = cpuMsOf(pid) + cpuMsOf(process.pid)
      const startedAt = performance.now()
      let rss = 0
      while (performance.now() < startedAt + windowMs) {
        await delay(50)
        rss = Math.max(rss, residentBytes(pid))
      }
      const { waits } = await read()
      waits.sort((a, b) => a - b)
      const cores = (cpuMsOf(pid) + cpuMsOf(process.pid) - cpu) / (performance.now() - startedAt)
      return { p99: quantile(waits, 0.99), answers: waits.length, cores, rss }
    }

    // Polite load: one peer of each listener would do, the neighbour is four of them.
    const polite = await watch()

    const hostile = new Worker(new URL('../support/hostile-thread.js', import.meta.url), {
      workerData: { seed, targets, places: 6 },
    })
    threads.push(hostile)
    const storm: Awaited<ReturnType<typeof watch>>[] = []
    const threadsBefore = [threadCpuMsOf(pid), threadCpuMsOf(process.pid)]
    const hostileSince = performance.now()
    for (let i = 0; i < windows; i++) storm.push(await watch())
    // What each thread of the server and of its peers has used of a core: the collectors' too.
    const hostileMs = performance.now() - hostileSince
    const shares = [pid, process.pid].flatMap((process, at) =>
      [...threadCpuMsOf(process)].map(([thread, ms]) => (ms - (threadsBefore[at]!.get(thread) ?? 0)) / hostileMs),
    )
    const { stats, errors, reactorsReplaced, replaced } = await server.vitals()
    hostile.postMessage('stop')
    const [counts] = (await once(hostile, 'message')) as [Record<string, number>]
    await hostile.terminate()

    // All of it is given back, while the neighbour goes on.
    const calm = await server.until(
      'all given back',
      ({ stats: { connections, memory } }) =>
        connections.open === 4 && memory.tasks === 0 && memory.messages === 0 && memory.buffered === 0 && memory.sum < limit / 4,
    )

    const cores = median(storm.map((one) => one.cores))
    burners = await Burners.start(shares.filter((share) => share > 0.005))
    const burntBefore = cpuMsOf(burners.pid)
    const besideSince = performance.now()
    const beside: typeof storm = []
    for (let i = 0; i < Math.max(2, windows / 3); i++) beside.push(await watch())
    const burnt = (cpuMsOf(burners.pid) - burntBefore) / (performance.now() - besideSince)
    await burners.stop()
    burners = undefined
    const { closed } = await read()
    neighbour.postMessage('stop')
    await once(neighbour, 'exit')

    const most = Math.max(...storm.map((one) => one.rss))
    const [p99, p99Beside] = [median(storm.map((one) => one.p99)), median(beside.map((one) => one.p99))]
    const largest = stats.reactors.map((one) => [one.turnBytesMost, one.turnCpuNsMost] as const)
    const reasons = Object.fromEntries(Object.entries(stats.connections.closed).filter(([, count]) => count !== 0))
    console.log(`    peers ${JSON.stringify(counts)}, closed ${JSON.stringify(reasons)}`)
    console.log(
      `    rss ${mb(polite.rss)} MiB, in the storm ${storm.map((one) => mb(one.rss)).join(' ')}, after it ${mb(calm.rss)}; ${cores.toFixed(2)} cores`,
    )
    console.log(
      `    p99 ${p99.toFixed(1)} against ${p99Beside.toFixed(1)} ms: ${polite.p99.toFixed(1)} ms, in the storm ${storm.map((one) => one.p99.toFixed(1)).join(' ')}, beside threads that burn ${burnt.toFixed(2)} cores ${beside.map((one) => one.p99.toFixed(1)).join(' ')}`,
    )
    console.log(`    largest turns ${largest.map(([bytes, ns]) => `${mb(bytes)} MiB ${(ns / 1e6).toFixed(1)} ms`).join(', ')}`)

    expect(closed, 'connections of the neighbour that were closed').to.equal(0)
    expect([replaced, reactorsReplaced], 'threads that ended').to.deep.equal([[], []])
    expect(errors, 'errors of the app').to.deep.equal([])
    expect(most - polite.rss, 'resident memory').to.be.at.most(limit + heaps)
    for (const [bytes, ns] of largest) {
      expect(bytes, 'bytes of the largest turn').to.be.at.most(turnBytes + mostStepBytes)
      expect(ns, 'CPU of the longest turn').to.be.at.most(turnCpuNs + mostStepCpuNs)
    }
    for (const { answers } of storm) expect(answers, 'answers of the neighbour in a window').to.be.above(0)
    await server.close()
  })
})

function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * 4096
}

function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  )
}

function mb(bytes: number): string {
  return (bytes / mebibyte).toFixed(0)
}
