import { type Candidate, candidates, chosenByName } from './candidates.js'
import { type LoadResult, measure } from './load.js'
import type { Options } from './options.js'
import { ServerProcess } from './server-process.js'
import type { Workload } from './workload.js'

// A fresh server first runs code that V8 has not compiled yet.
const firstWarmup = { connections: 50, inFlight: 16, seconds: 0.4, warmup: 0.1 }

/** One window: which server, on what, in which round, and what came out, or why nothing did. */
export interface Sample {
  server: string
  work: string
  connections: number
  inFlight: number
  round: number
  result?: LoadResult
  failure?: string
}

export function chosenCandidates(options: Options): Candidate[] {
  return chosenByName(options.only) ?? candidates.filter(({ extra }) => options.full || !extra)
}

/**
 * One round of one workload: every server is started anew and stays up, idle, while the others are measured; then each setting
 * is measured on all of them in turn, so that what disturbs the machine for a while disturbs all of them.
 */
export async function measureRound(
  options: Options,
  workload: Workload,
  round: number,
  report: (s: Sample) => void,
): Promise<void> {
  const servers: ServerProcess[] = []
  try {
    for (const candidate of rotated(chosenCandidates(options), round)) {
      if (!candidate.works.includes(workload.work)) continue
      const failure = await startWarm(candidate, workload, options, servers)
      if (failure === undefined) continue
      for (const setting of settings(options)) report({ ...setting, server: candidate.name, work: workload.name, round, failure })
    }
    for (const setting of settings(options)) {
      for (const server of servers) {
        report({
          ...setting,
          server: server.name,
          work: workload.name,
          round,
          ...(await outcome(server, workload, options, setting)),
        })
      }
    }
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
}

interface Setting {
  connections: number
  inFlight: number
}

function settings({ connections, inFlight }: Options): Setting[] {
  return connections.flatMap((count) => inFlight.map((depth) => ({ connections: count, inFlight: depth })))
}

/** Nobody is always first. */
function rotated<T>(items: T[], by: number): T[] {
  const at = by % Math.max(1, items.length)
  return [...items.slice(at), ...items.slice(0, at)]
}

async function startWarm(
  candidate: Candidate,
  workload: Workload,
  options: Options,
  into: ServerProcess[],
): Promise<string | undefined> {
  try {
    const server = await ServerProcess.start(candidate, workload.work, options.pin)
    into.push(server)
    await measure(server, workload, { ...firstWarmup, pin: options.pin })
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

async function outcome(server: ServerProcess, workload: Workload, options: Options, setting: Setting): Promise<Partial<Sample>> {
  try {
    return { result: await measure(server, workload, { ...options, ...setting }) }
  } catch (error) {
    return { failure: (error as Error).message }
  }
}
