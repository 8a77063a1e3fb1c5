import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { expect } from 'chai'
import { Burners, CpuProfile } from '../support/burners.js'
import { cpuMsOf } from '../support/cpu.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { quantile } from '../support/prober.js'
import { stormSeed } from '../support/random.js'
import { ServerProcess } from '../support/server-process.js'

const mebibyte = 1 << 20
const limit = 128 * mebibyte
/** Beside it, for the allocator's memory between the blocks that are held, and for the heaps of four threads: docs/memory.md. */
const heaps = 64 * mebibyte
/** The part of it that stays when the storm is over: code, and the heaps' highest marks. */
const kept = 48 * mebibyte
const windowMs = 5_000
const windowsOfRound = 2
const rounds = Math.ceil(Number(process.env['STORM_SECONDS'] ?? 60) / 10)
/** addon/native/src/reactor/turn_budget.h: the budget, and the step at which it ends. */
const turnBytes = 2 * mebibyte
const mostStepBytes = 2 * mebibyte
const turnCpuNs = 4_000_000
const mostStepCpuNs = 8_000_000
/** Input, hooks and output of a few turns: the one that runs when a question comes, those of the peers before it, and its own. */
const mostSpentMs = 5 * (4 + 2 + 4)

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
      workerData: { port: ports[0], connections: 4 },
    })
    threads.push(neighbour)
    const read = async (): Promise<{ waits: number[]; spent: number[]; closed: number }> => {
      neighbour.postMessage('read')
      return ((await once(neighbour, 'message')) as [{ waits: number[]; spent: number[]; closed: number }])[0]
    }
    /** One window: the neighbour's waiting times, the CPU of both processes in cores, and the peak of resident memory. */
    const watch = async (): Promise<Window> => {
      await read()
      const cpu = cpuMsOf(pid) + cpuMsOf(process.pid)
      const startedAt = performance.now()
      let rss = 0
      while (performance.now() < startedAt + windowMs) {
        await delay(50)
        rss = Math.max(rss, residentBytes(pid))
      }
      const { waits, spent } = await read()
      const cores = (cpuMsOf(pid) + cpuMsOf(process.pid) - cpu) / (performance.now() - startedAt)
      return { waits, spent: p99Of(spent), cores, rss }
    }

    const polite = await watch()

    const counts: Record<string, number> = {}
    const storm: Window[] = []
    const pairs: { ratio: number; storm: number; beside: number }[] = []
    const givenBack: number[] = []
    for (let round = 0; round < rounds; round++) {
      const hostile = new Worker(new URL('../support/hostile-thread.js', import.meta.url), {
        workerData: { seed: seed + round * 1_000_000, targets, places: 6 },
      })
      threads.push(hostile)
      const profile = new CpuProfile([pid, process.pid])
      const windows: Window[] = []
      for (let i = 0; i < windowsOfRound; i++) windows.push(await watch())
      storm.push(...windows)
      const profiles = profile.end()
      hostile.postMessage('stop')
      const [kinds] = (await once(hostile, 'message')) as [Record<string, number>]
      await hostile.terminate()
      for (const [kind, count] of Object.entries(kinds)) counts[kind] = (counts[kind] ?? 0) + count

      // All of it is given back, while the neighbour goes on.
      await server.until(
        'all given back',
        ({ stats: { connections, memory } }) =>
          connections.open === 4 &&
          memory.tasks === 0 &&
          memory.messages === 0 &&
          memory.buffered === 0 &&
          memory.sum < limit / 16,
      )
      await server.until('resident memory given back', () => residentBytes(pid) <= polite.rss + kept)
      givenBack.push(residentBytes(pid))

      // The same CPU at the same moments without a storm, right behind it: other load of the machine is much the same.
      burners = await Burners.start(profiles, profile.slotMs)
      const besides: Window[] = []
      for (let i = 0; i < windowsOfRound; i++) besides.push(await watch())
      await burners.stop()
      burners = undefined
      const [p99, beside] = [windows, besides].map((list) => p99Of(list.flatMap(({ waits }) => waits))) as [number, number]
      pairs.push({ ratio: p99 / beside, storm: p99, beside })
    }
    const { stats, errors, reactorsReplaced, replaced } = await server.vitals()
    const { closed } = await read()
    neighbour.postMessage('stop')
    await once(neighbour, 'exit')

    const most = Math.max(...storm.map((one) => one.rss))
    const largest = stats.reactors.map((one) => [one.turnBytesMost, one.turnCpuNsMost] as const)
    const reasons = Object.fromEntries(Object.entries(stats.connections.closed).filter(([, count]) => count !== 0))
    console.log(`    peers ${JSON.stringify(counts)}, closed ${JSON.stringify(reasons)}`)
    console.log(
      `    rss ${mb(polite.rss)} MiB, in the storm ${storm.map((one) => mb(one.rss)).join(' ')}, after it ${givenBack.map(mb).join(' ')}; ${median(storm.map((one) => one.cores)).toFixed(2)} cores`,
    )
    console.log(
      `    p99 of the neighbour ${pairs.map((one) => `${one.storm.toFixed(1)}:${one.beside.toFixed(1)}`).join(' ')} ms beside the storm and beside threads that burn its CPU, median of ratios ${median(pairs.map((one) => one.ratio)).toFixed(2)}; without either ${p99Of(polite.waits).toFixed(1)} ms`,
    )
    console.log(
      `    p99 of CPU that its reactor spent meanwhile ${polite.spent.toFixed(1)} ms, in the storm ${storm.map((one) => one.spent.toFixed(1)).join(' ')}`,
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
    for (const { waits } of storm) expect(waits.length, 'answers of the neighbour in a window').to.be.above(0)
    expect(median(storm.map((one) => one.spent)), 'p99 of what the reactor does for others').to.be.at.most(mostSpentMs)
    await server.close()
  })
})

interface Window {
  waits: number[]
  spent: number
  cores: number
  rss: number
}

function p99Of(values: number[]): number {
  return quantile(
    values.sort((a, b) => a - b),
    0.99,
  )
}

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
