import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const directory = fileURLToPath(new URL('../native/', import.meta.url))

export const loadgen = `${directory}build/loadgen`
export const epollEcho = `${directory}build/epoll_echo`

/** Compiles the load generator and the C baseline where their sources are newer than they. */
export function buildNative(): void {
  execFileSync('make', ['--silent', '-C', directory], { stdio: ['ignore', 'inherit', 'inherit'] })
}
