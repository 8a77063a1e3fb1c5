import { type Machine, mebibytes } from '@multireactor/pool/group'

export interface Sizes {
  reactors: number
  /** 0: there is no pool. */
  workers: number
  /** Bytes. */
  memory: number
  /** The values that the caller has set. The others come from the machine or the container. */
  given: { reactors: boolean; pool: boolean; memory: boolean }
  machine: Machine
  /** Where `/metrics` is. */
  admin: { address: string; port: number } | undefined
}

/** The settings of a server and their reasons: `2 reactors (2 CPUs), no pool, memory limit 256 MiB (half of the cgroup's 512 MiB)`. */
export function startLine({ reactors, workers, memory, given, machine, admin }: Sizes): string {
  const why = (isGiven: boolean, reason: string): string => `(${isGiven ? 'as given' : reason})`
  const count = (amount: number, noun: string): string => `${amount} ${noun}${amount === 1 ? '' : 's'}`
  return [
    `${count(reactors, 'reactor')} ${why(given.reactors, machine.threadsOf)}`,
    workers === 0 ? 'no pool' : `${count(workers, 'worker')} ${why(given.pool, machine.threadsOf)}`,
    `memory limit ${mebibytes(memory)} ${why(given.memory, `half of ${machine.memoryOf}`)}`,
    ...(admin ? [`admin on ${shownPlace(admin.address, admin.port)}`] : []),
  ].join(', ')
}

export function shownPlace(address: string, port: number): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`
}
