import type { Candidate } from './candidates.js'
import type { Cores } from './cores.js'
import { idleMemory } from './idle.js'
import { type LoadShape, measure } from './load.js'
import { type Values, valuesOf } from './metric.js'
import { ServerProcess } from './server-process.js'
import type { Workload, WorkloadName } from './workload.js'

// A fresh server first runs code that V8 has not compiled yet, and compiles it beside its work: on a slow core for most of a second.
const firstWarmup = { connections: 50, inFlight: 16, seconds: 0.9, warmup: 0.1 }

/** One window: which server, on what, in which round, and its result, or the reason for none. */
export interface Sample extends LoadShape {
  server: string
  work: WorkloadName
  pinned: boolean
  round: number
  values?: Values
  failure?: string
}

/** One workload in one setting of pinning. */
export interface Pass {
  workload: Workload
  candidates: readonly Candidate[]
  shapes: readonly LoadShape[]
  /** Undefined: not pinned. */
  cores: Cores | undefined
  seconds: number
  warmup: number
}

/**
 * One round of one pass. Under load, every server is started anew and stays up, idle, while the others are measured; then each shape
 * is measured on all of them in turn, so that a disturbance of the machine meets all of them.
 */
export async function measureRound(pass: Pass, round: number, report: (sample: Sample) => void): Promise<void> {
  const inTurn = rotated(pass.candidates, round)
  const say = (server: string, shape: LoadShape, outcome: Outcome): void =>
    report({ ...shape, server, work: pass.workload.name, pinned: pass.cores !== undefined, round, ...outcome })
  const alone = pass.workload.kind === 'idle' ? idleValues : pass.workload.kind === 'start' ? startValues : undefined
  if (alone === undefined) return underLoad(pass, inTurn, say)
  for (const candidate of inTurn) say(candidate.name, pass.shapes[0]!, await outcomeOf(alone(candidate, pass)))
}

type Outcome = Pick<Sample, 'values' | 'failure'>

async function outcomeOf(values: Promise<Values>): Promise<Outcome> {
  try {
    return { values: await values }
  } catch (error) {
    return { failure: (error as Error).message }
  }
}

async function underLoad(
  pass: Pass,
  inTurn: readonly Candidate[],
  say: (server: string, shape: LoadShape, outcome: Outcome) => void,
): Promise<void> {
  const { workload, shapes, seconds, warmup, cores } = pass
  const servers: ServerProcess[] = []
  try {
    for (const candidate of inTurn) {
      const { failure } = await outcomeOf(startWarm(candidate, pass, servers))
      if (failure === undefined) continue
      for (const shape of shapes) say(candidate.name, shape, { failure })
    }
    for (const shape of shapes) {
      for (const server of servers) {
        const window = measure(server, workload, { ...shape, seconds, warmup, cores }).then(valuesOf)
        say(server.name, shape, await outcomeOf(window))
      }
    }
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
}

async function startWarm(candidate: Candidate, { workload, cores, shapes }: Pass, into: ServerProcess[]): Promise<Values> {
  const server = await ServerProcess.start(candidate, workload.work, cores?.server)
  try {
    // Work with a shape of its own is warmed up in that shape: others may mean something else.
    await measure(server, workload, { ...firstWarmup, ...(workload.fixed ? shapes[0]! : {}), cores })
  } catch (error) {
    await server.stop()
    throw error
  }
  into.push(server)
  return {}
}

async function idleValues(candidate: Candidate): Promise<Values> {
  const { bytes } = await idleMemory(candidate)
  return { bytes }
}

async function startValues(candidate: Candidate, { workload, cores }: Pass): Promise<Values> {
  const server = await ServerProcess.start(candidate, workload.work, cores?.server)
  await server.stop()
  const { serveMs, processMs } = server.started
  return { processMs, ...(serveMs === undefined ? {} : { serveMs }) }
}

/** Rotates the order, so that no server is always first. */
function rotated<T>(items: readonly T[], by: number): T[] {
  const at = by % Math.max(1, items.length)
  return [...items.slice(at), ...items.slice(0, at)]
}
