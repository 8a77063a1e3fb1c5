import { fileURLToPath } from 'node:url'
import type { Candidate } from './candidates.js'

/** One program with different numbers: how many reactors, and where they listen. */
export interface Design {
  name: 'v1' | 'v2' | 'v3'
  title: string
  reactors: number
  ports: number
  unixSocket: boolean
}

export const designs: readonly Design[] = [
  { name: 'v1', title: 'V1: 1 reactor, 1 port', reactors: 1, ports: 1, unixSocket: false },
  { name: 'v2', title: 'V2: 1 reactor, 3 ports, 1 Unix socket', reactors: 1, ports: 3, unixSocket: true },
  { name: 'v3', title: 'V3: 2 reactors, 1 port', reactors: 2, ports: 1, unixSocket: false },
]

/** With two pool workers in every design, so that replies can overtake each other and must be put back in order. */
export const poolWorkers = 2

export function candidateOf({ title, reactors, ports, unixSocket }: Design, socketPath: string): Candidate {
  const script = fileURLToPath(new URL('./servers/multireactor.js', import.meta.url))
  const listen = [...Array<string>(ports).fill('0'), ...(unixSocket ? [socketPath] : [])]
  const sizes = ['--reactors', String(reactors), '--pool', String(poolWorkers)]
  return {
    name: title,
    works: ['json'],
    runtime: 'node',
    command: (work) => [process.execPath, script, '--work', work, '--listen', listen.join(), ...sizes],
  }
}
