import { native, queueFullPolicies } from '@multireactor/addon'
import { mostWorkers, type ServeSettings } from './options.js'

/** The native part of a server, without threads. Its number. */
export function createRuntime({ reactors, pool, limits }: ServeSettings, mostReactors: number): number {
  return native.createRuntime({
    reactors,
    workers: pool.size,
    maxReactors: mostReactors,
    maxWorkers: mostWorkers,
    maxTasks: pool.maxQueued,
    maxBytes: pool.maxQueuedBytes,
    onQueueFull: queueFullPolicies.indexOf(pool.onQueueFull),
    maxWaitMs: pool.maxWaitMs,
    maxConnections: limits.connections,
    maxPerAddress: limits.connectionsPerAddress,
    acceptsPerSecond: limits.acceptsPerSecond,
    maxMemoryBytes: limits.memory,
  })
}
