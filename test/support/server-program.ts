import { readdirSync } from 'node:fs'
import { setEnvironmentData } from 'node:worker_threads'
import { type ServeOptions, serve } from '@multireactor/core'
import { kill } from './kill.js'
import { census } from './leaks.js'
import type { Vitals } from './server-process.js'

// The server of a storm, in a process of its own: started by ServerProcess, and asked by it for its state.

const options = JSON.parse(process.argv[2]!) as ServeOptions
const counts = new Int32Array(new SharedArrayBuffer(64))
// Every thread that is started later inherits it: the apps count there.
setEnvironmentData('counts', counts)
const before = census()
const server = await serve({ ...options, app: new URL(options.app) })
const errors: string[] = []
let errorCount = 0
const replaced: Vitals['replaced'] = []
server.on('error', (error) => {
  errorCount++
  if (errors.length < 20) errors.push(String(error))
})
server.on('workerReplaced', ({ reason, lost, requeued, error }) =>
  replaced.push({ reason, lost, requeued, error: error === undefined ? undefined : String(error) }),
)
const reactorsReplaced: Vitals['reactorsReplaced'] = []
server.on('reactorReplaced', ({ index, reason, error }) =>
  reactorsReplaced.push({ index, reason, error: error === undefined ? undefined : String(error) }),
)

function death(index: number): Promise<void> {
  return new Promise((resolve) => {
    const look = (dead: { index: number }) => {
      if (dead.index !== index) return
      server.off('reactorReplaced', look)
      resolve()
    }
    server.on('reactorReplaced', look)
  })
}

const answers: Record<string, (value: never) => unknown> = {
  vitals: (): Vitals => {
    globalThis.gc?.()
    const { user, system } = process.cpuUsage()
    return {
      rss: process.memoryUsage().rss,
      fds: readdirSync('/proc/self/fd').length,
      threads: readdirSync('/proc/self/task').length,
      cpuMs: (user + system) / 1_000,
      counts: [...counts],
      errors,
      errorCount,
      replaced,
      reactorsReplaced,
      wallMs: Date.now(),
      stats: server.stats(),
    }
  },
  /** Sets a cell of the counts, and wakes the threads that wait for it. */
  release: (cell: number) => {
    Atomics.store(counts, cell, 1)
    return Atomics.notify(counts, cell)
  },
  reload: () => server.reload(),
  resize: (sizes: { reactors?: number; pool?: number }) => server.resize(sizes),
  killReactor: ({ index, how }: { index: number; how: string }) => kill(`reactor ${index} ${how}`.trim(), death(index)),
  close: async () => {
    const result = await server.close()
    return { result, before, after: census() }
  },
}

process.on('message', async ({ id, name, value }: { id: number; name: string; value: never }) => {
  try {
    process.send!({ id, value: await answers[name]!(value) })
  } catch (error) {
    process.send!({ id, error: (error as Error).stack })
  }
})
process.on('disconnect', () => process.exit())
process.send!({ ports: server.listeners.map(({ port }) => port) })
