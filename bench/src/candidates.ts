import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { bun } from './bun.js'
import { epollEcho } from './native.js'
import type { Work } from './work.js'
import type { WorkloadName } from './workload.js'

/** One server of the comparison: how it is started, and the work it can do. */
export interface Candidate {
  name: string
  works: readonly Work[]
  /** It is right for these only. */
  workloads?: readonly WorkloadName[]
  command: (work: Work, nodeArguments?: readonly string[]) => string[]
  /** Which memory it has to give back before it is measured, and how it is told to. */
  runtime: 'native' | 'node' | 'bun'
  /** Runs only with --full, or when --only names it, or a figure is about it. */
  extra?: boolean
  /** Why it cannot run here; undefined when it can. */
  unavailable?: () => string | undefined
}

const all: readonly Work[] = ['echo', 'bytes', 'lines', 'orders', 'json', 'idle']
const withPool: readonly Work[] = ['lines', 'orders', 'json', 'idle']
const inC: readonly Work[] = ['echo', 'bytes', 'lines', 'orders', 'idle']

export const candidates: readonly Candidate[] = [
  { name: 'C epoll', works: inC, runtime: 'native', command: (work) => [epollEcho, '--work', inWordsOfC(work)] },
  {
    name: 'C epoll x2',
    works: ['echo', 'bytes', 'lines', 'orders'],
    runtime: 'native',
    command: (work) => [epollEcho, '--work', inWordsOfC(work), '--threads', '2'],
    extra: true,
  },
  node('net', 'net', all),
  node('cluster x2', 'cluster', all, 2),
  node('net + postMessage', 'post-message', ['orders', 'json'], 1, 1),
  {
    ...node('net + postMessage by size', 'post-message', ['json'], 1, 1, ['--inline-below', '4096']),
    extra: true,
    workloads: ['isolation'],
  },
  node('net + piscina', 'piscina', ['orders', 'json'], 1, 1),
  {
    name: 'Bun',
    works: all,
    runtime: 'bun',
    command: (work) => {
      const found = bun()
      return ['program' in found ? found.program : 'bun', scriptOf('bun'), '--work', work]
    },
    unavailable: () => {
      const found = bun()
      return 'reason' in found ? found.reason : undefined
    },
  },
  node('multireactor 1+0', 'multireactor', all, 1, 0),
  { ...node('multireactor 2+0', 'multireactor', all, 2, 0), extra: true },
  node('multireactor 1+1', 'multireactor', withPool, 1, 1),
  { ...node('multireactor 1+2', 'multireactor', withPool, 1, 2), extra: true },
  node('multireactor 2+2', 'multireactor', withPool, 2, 2),
  auto('multireactor auto 1+1', 1, 1),
  { ...auto('multireactor auto 1+2', 1, 2), extra: true },
]

function scriptOf(server: string): string {
  return fileURLToPath(new URL(`./servers/${server}.js`, import.meta.url))
}

function inWordsOfC(work: Work): string {
  return work === 'idle' ? 'echo' : work === 'bytes' ? 'lines' : work
}

function node(
  name: string,
  server: string,
  works: readonly Work[],
  reactors = 1,
  pool = 0,
  more: readonly string[] = [],
): Candidate {
  const rest = ['--reactors', String(reactors), '--pool', String(pool), ...more]
  return {
    name,
    works,
    runtime: 'node',
    command: (work, nodeArguments = []) => [process.execPath, ...nodeArguments, scriptOf(server), '--work', work, ...rest],
  }
}

function auto(name: string, reactors: number, pool: number): Candidate {
  return { ...node(name, 'multireactor', ['lines', 'orders', 'json'], reactors, pool, ['--run', 'auto']), unavailable: noAuto }
}

let autoReason: { reason: string | undefined } | undefined

/** Placement by measurement is asked for by an option that an older core refuses. */
function noAuto(): string | undefined {
  autoReason ??= { reason: tryAuto() }
  return autoReason.reason
}

function tryAuto(): string | undefined {
  try {
    execFileSync(process.execPath, [scriptOf('multireactor'), '--run', 'auto', '--work', 'json', '--pool', '1', '--try'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: 20_000,
    })
    return undefined
  } catch (error) {
    const code = /ERR_MR_\w+/.exec(String((error as { stderr?: Buffer }).stderr ?? ''))?.[0]
    return `this core does not serve an app with run: 'auto' (${code ?? (error as Error).message.split('\n')[0]})`
  }
}

/** Those that --only asks for: by name, or by a part of it where nothing has that name. None asked for: undefined. */
export function chosenByName(only: readonly string[]): Candidate[] | undefined {
  if (only.length === 0) return undefined
  const exact = new Set(candidates.map(({ name }) => name))
  return candidates.filter(({ name }) => only.some((part) => (exact.has(part) ? name === part : name.includes(part))))
}

/** Those that can run here, and for the others why they cannot. */
export function available(chosen: readonly Candidate[]): { present: Candidate[]; absent: Map<string, string> } {
  const absent = new Map<string, string>()
  const present = chosen.filter(({ name, unavailable }) => {
    const reason = unavailable?.()
    if (reason !== undefined) absent.set(name, reason)
    return reason === undefined
  })
  return { present, absent }
}
