import {
  type CloseReason,
  closeReasons,
  type MemoryUse,
  named,
  native,
  type ReactorCounterName,
  reactorCounterNames,
  type WorkerCounterName,
  workerCounterNames,
} from '@multireactor/addon'

/** The counters of a server that any of its threads can read. They never reset. */
export interface ThreadStats {
  /** Sums over the reactors. `open` and `closed` count client connections, too. */
  connections: { open: number; accepted: number; connected: number; closed: Record<CloseReason, number> }
  /** Counters of each reactor since the start, and its closed connections by reason. */
  reactors: (Record<ReactorCounterName, number> & { closed: Record<CloseReason, number> })[]
  /** Frames that wait for a pool worker now. */
  queue: { tasks: number; frames: number; bytes: number }
  /** Memory that `limits.memory` bounds, in bytes. */
  memory: MemoryUse & { sum: number }
  /** Counters of each pool worker since the start. */
  workers: Record<WorkerCounterName, number>[]
  /** Replies dropped because their connection had closed. */
  repliesUnrouted: number
  /** Refused, because too much waited to be delivered. */
  publicationsRefused: number
}

/** Reads without waiting: the counters are native, and each has one writer. */
export function readStats(runtime: number): ThreadStats {
  const counters = native.readCounters(runtime)
  const reactors = counters.reactors.map((row, i) => ({
    ...named(reactorCounterNames, row),
    closed: named(closeReasons, counters.closed[i]!),
  }))
  const sum = (of: (reactor: (typeof reactors)[number]) => number) => reactors.reduce((total, reactor) => total + of(reactor), 0)
  const closed = Object.fromEntries(closeReasons.map((reason) => [reason, sum((reactor) => reactor.closed[reason])]))
  return {
    connections: {
      open: sum((reactor) => reactor.open),
      accepted: sum((reactor) => reactor.accepted),
      connected: sum((reactor) => reactor.connected),
      closed: closed as Record<CloseReason, number>,
    },
    reactors,
    queue: { tasks: counters.queueTasks, frames: counters.queueFrames, bytes: counters.queueBytes },
    memory: { ...counters.memory, sum: Object.values(counters.memory).reduce((total, bytes) => total + bytes, 0) },
    workers: counters.workers.map((row) => named(workerCounterNames, row)),
    repliesUnrouted: counters.repliesUnrouted,
    publicationsRefused: counters.publicationsRefused,
  }
}
