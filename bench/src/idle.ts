import { readFileSync } from 'node:fs'
import type { Candidate } from './candidates.js'
import { IdleConnections } from './idle-connections.js'
import { type Manner, ServerProcess } from './server-process.js'
import { median } from './statistics.js'

// The user memory of an idle connection: the slope between two counts, so that the fixed memory of a server cancels out.
// The kernel's own memory for a socket is not in it. The connections live in other processes, whose limit on fds is their own.
//
// The slope is a few MiB, and the heaps of freshly started threads give back more than that on their own within seconds. So every
// thread collects its garbage, again and again, for some time before each of the two measurements. No connection is opened and closed
// before: the allocator would keep that memory, and the measured connections would cost nothing.
export const few = 2_000
export const many = 15_000
const sampleMs = 250
const restSamples = 32 // V8 returns memory as late as some seconds after it is free.
const windowSamples = 8
const stillKib = 64 // Between the medians of two windows: single samples of a heap vary more.
const patience = 160

export interface IdleMemory {
  bytes: number
  growthKib: number
  /** As the server counts them, at both points. */
  open: [few: number, many: number]
}

/** Anonymous pages only: code that is run for the first time is no cost of a connection. */
function anonymousKib(pid: number): number {
  return Number(/^Anonymous:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])
}

/** Memory at rest, with as many connections open as the server itself must count. */
async function atRest(server: ServerProcess, expected: number): Promise<{ kib: number; open: number }> {
  const samples: number[] = []
  for (let attempt = 0; attempt < patience; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, sampleMs))
    const { open } = await server.counts()
    samples.push(anonymousKib(server.pid))
    const now = median(samples.slice(-windowSamples))
    const before = median(samples.slice(-2 * windowSamples, -windowSamples))
    const still = samples.length >= restSamples && Math.abs(now - before) <= stillKib
    if (open === expected && still) return { kib: now, open }
  }
  const { open } = await server.counts()
  throw new Error(`${server.name} did not come to rest: it counts ${open} open connections of ${expected}${server.said}`)
}

/** Not for servers of several processes: it looks at one. */
export async function idleMemory(candidate: Candidate): Promise<IdleMemory> {
  const server = await ServerProcess.start(candidate, 'idle', undefined, collecting(candidate))
  const held: IdleConnections[] = []
  try {
    held.push(await IdleConnections.open(server, few))
    const before = await atRest(server, few)
    held.push(await IdleConnections.open(server, many - few))
    const after = await atRest(server, many)
    const growthKib = after.kib - before.kib
    return { bytes: (growthKib * 1024) / (many - few), growthKib, open: [before.open, after.open] }
  } finally {
    for (const connections of held) connections.close()
    await server.stop()
  }
}

/** Every thread of it collects its garbage when it is asked for its counts: Bun by its own server's word, C has none. */
function collecting({ runtime }: Candidate): Manner {
  if (runtime !== 'node') return {}
  return { nodeArguments: ['--expose-gc', '--import', new URL('./servers/collect-garbage.js', import.meta.url).href] }
}
