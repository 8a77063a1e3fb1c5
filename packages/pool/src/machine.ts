import { availableParallelism, totalmem } from 'node:os'
import { type CgroupLimits, cgroupLimits } from './cgroup.js'

/** The machine, and this process's share of it, as the system reports them. */
export interface MachineFacts {
  totalMemory: number
  /** `process.constrainedMemory()`: 0, undefined or absurdly large where there is no limit, as the version of Node has it. */
  constrainedMemory: number | undefined
  parallelism: number
  cgroup: CgroupLimits
}

/** The resources that this process may use, and the reason, for the start line. */
export interface Machine {
  /** Bytes: the least of the machine's memory and the limits of its control groups. */
  memory: number
  memoryOf: string
  /** One for each CPU that the process may keep busy, at least 1. */
  threads: number
  threadsOf: string
}

/** Asked once for each server: a limit that changes later is not followed. */
export function machine(facts: MachineFacts = machineFacts()): Machine {
  const { totalMemory, constrainedMemory = 0, parallelism, cgroup } = facts
  const limits = [constrainedMemory, cgroup.memory ?? 0].filter((limit) => limit > 0 && limit < totalMemory)
  const memory = Math.min(totalMemory, ...limits)
  const memoryOf = `the ${limits.length > 0 ? "cgroup's" : "machine's"} ${mebibytes(memory)}`
  const cpus = cgroup.cpus ?? Number.POSITIVE_INFINITY
  const fromQuota = Math.max(1, Math.ceil(cpus))
  // From Node 22.12 on availableParallelism() knows the quota as well: then both say the same.
  const isQuota = fromQuota < parallelism || (fromQuota === parallelism && cpus <= parallelism)
  const threads = Math.max(1, Math.min(parallelism, fromQuota))
  return {
    memory,
    memoryOf,
    threads,
    threadsOf: isQuota ? `the cgroup's quota of ${round(cpus)} CPUs` : `${parallelism} CPU${parallelism === 1 ? '' : 's'}`,
  }
}

/** `256 MiB`. */
export function mebibytes(bytes: number): string {
  return `${round(bytes / 2 ** 20)} MiB`
}

function machineFacts(): MachineFacts {
  return {
    totalMemory: totalmem(),
    constrainedMemory: process.constrainedMemory?.(),
    parallelism: availableParallelism(),
    cgroup: cgroupLimits(),
  }
}

function round(value: number): string {
  return (value < 10 ? Math.round(value * 100) / 100 : Math.round(value)).toLocaleString('en')
}
