import { fileURLToPath } from 'node:url'
import { epollEcho } from './native.js'
import type { Work } from './work.js'

/** One server of the comparison: how it is started, and the work it can do. */
export interface Candidate {
  name: string
  works: readonly Work[]
  command: (work: Work) => string[]
  /** Runs only with --full or when --only names it. */
  extra?: boolean
}

export const candidates: readonly Candidate[] = [
  { name: 'C epoll', works: ['echo', 'lines'], command: (work) => [epollEcho, '--work', work] },
  { name: 'C epoll x2', works: ['echo', 'lines'], command: (work) => [epollEcho, '--work', work, '--threads', '2'], extra: true },
  node('net', 'net', ['echo', 'lines', 'json']),
  node('cluster x2', 'cluster', ['echo', 'lines', 'json'], 2),
  node('net + postMessage', 'post-message', ['json'], 1, 1),
  node('net + piscina', 'piscina', ['json'], 1, 1),
  node('multireactor 1+0', 'multireactor', ['echo', 'lines', 'json'], 1, 0),
  { ...node('multireactor 2+0', 'multireactor', ['echo', 'lines', 'json'], 2, 0), extra: true },
  node('multireactor 1+1', 'multireactor', ['json'], 1, 1),
  node('multireactor 2+2', 'multireactor', ['json'], 2, 2),
]

function node(name: string, server: string, works: readonly Work[], reactors = 1, pool = 0): Candidate {
  const script = fileURLToPath(new URL(`./servers/${server}.js`, import.meta.url))
  const sizes = ['--reactors', String(reactors), '--pool', String(pool)]
  return { name, works, command: (work) => [process.execPath, script, '--work', work, ...sizes] }
}

/** Those that --only asks for: by name, or by a part of it where nothing has that name. None asked for: undefined. */
export function chosenByName(only: readonly string[]): Candidate[] | undefined {
  if (only.length === 0) return undefined
  const exact = new Set(candidates.map(({ name }) => name))
  return candidates.filter(({ name }) => only.some((part) => (exact.has(part) ? name === part : name.includes(part))))
}
