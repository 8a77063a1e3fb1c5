import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const directory = fileURLToPath(new URL('../native/', import.meta.url))

export const loadgen = `${directory}build/loadgen`
export const epollEcho = `${directory}build/epoll_echo`
export const fanout = `${directory}build/fanout`
export const reactorLoop = `${directory}build/reactor_loop`
export const countingLibrary = `${directory}build/counting.so`
export const queueScale = `${directory}build/queue_scale`
export const queueScaleCounted = `${directory}build/queue_scale_counted`

/** Compiles the load generator and the C baseline where their sources are newer than they; `more`: further targets of the Makefile. */
export function buildNative(...more: ('costs' | 'scale')[]): void {
  execFileSync('make', ['--silent', '-C', directory, 'all', ...more], { stdio: ['ignore', 'inherit', 'inherit'] })
}
