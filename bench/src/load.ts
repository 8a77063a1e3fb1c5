import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type Cores, onCores } from './cores.js'
import { loadgen } from './native.js'
import type { ServerProcess } from './server-process.js'
import type { Workload } from './workload.js'

const graceMs = 30_000

export interface LoadShape {
  connections: number
  inFlight: number
}

interface LoadOptions extends LoadShape {
  seconds: number
  warmup: number
  /** Undefined: not pinned. */
  cores: Cores | undefined
}

/** The replies to one group of connections: latencies in microseconds. */
interface Tally {
  requests: number
  seconds: number
  throughput: number
  p50: number
  p99: number
  p999: number
  verified: number
}

/** The output of the load generator: CPU time in microseconds. */
export interface LoadResult extends Tally {
  serverCpuUs: number
  /** The second group of connections, where there is one. */
  beside?: Tally
}

/** Measures one window. Rejects with the first wrong reply, if there is one. */
export function measure(server: ServerProcess, workload: Pick<Workload, 'flags'>, options: LoadOptions): Promise<LoadResult> {
  const { seconds, warmup, cores } = options
  return run(server, workload, { ...shape(options), seconds, warmup }, cores, (seconds + warmup) * 1_000 + graceMs)
}

/** Sends as many frames as are asked for, and ends when each has its reply. Rejects with the first wrong or missing one. */
export function stream(
  server: ServerProcess,
  workload: Pick<Workload, 'flags'>,
  frames: number,
  load: LoadShape,
): Promise<LoadResult> {
  // No limit in time: the load generator itself gives up when no reply comes.
  return run(server, workload, { ...shape(load), frames }, undefined, 0)
}

function shape({ connections, inFlight }: LoadShape): Record<string, number> {
  return { connections, 'in-flight': inFlight }
}

async function run(
  server: ServerProcess,
  workload: Pick<Workload, 'flags'>,
  numbers: Record<string, number>,
  cores: Cores | undefined,
  timeout: number,
): Promise<LoadResult> {
  const named = { ...numbers, to: server.addresses.join(), pids: server.pids.join() }
  const flags = Object.entries(named).flatMap(([name, value]) => [`--${name}`, String(value)])
  const [program, args] = onCores(cores?.load, [loadgen, ...flags, ...workload.flags])
  try {
    const { stdout } = await promisify(execFile)(program, args, { timeout })
    return JSON.parse(stdout) as LoadResult
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string }
    throw new Error(`${stderr?.trim() || message}${server.said}`)
  }
}
