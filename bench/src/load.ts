import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { loadCore, onCore } from './cores.js'
import { loadgen } from './native.js'
import type { ServerProcess } from './server-process.js'
import type { Workload } from './workload.js'

const graceMs = 30_000

interface LoadOptions {
  connections: number
  inFlight: number
  seconds: number
  warmup: number
  pin: boolean
}

/** What the load generator prints: latencies and CPU time in microseconds. */
export interface LoadResult {
  requests: number
  seconds: number
  throughput: number
  p50: number
  p99: number
  p999: number
  serverCpuUs: number
  verified: number
}

/** Measures one window. Rejects with the first wrong reply, if there is one. */
export async function measure(server: ServerProcess, workload: Workload, options: LoadOptions): Promise<LoadResult> {
  const numbers = {
    port: server.port,
    connections: options.connections,
    'in-flight': options.inFlight,
    seconds: options.seconds,
    warmup: options.warmup,
    pids: server.pids.join(','),
  }
  const flags = Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)])
  const [program, args] = onCore(loadCore, options.pin, [loadgen, ...flags, ...workload.flags])
  const timeout = (options.seconds + options.warmup) * 1_000 + graceMs
  try {
    const { stdout } = await promisify(execFile)(program, args, { timeout })
    return JSON.parse(stdout) as LoadResult
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string }
    throw new Error(stderr?.trim() || message)
  }
}
