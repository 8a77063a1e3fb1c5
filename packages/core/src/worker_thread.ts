import { workerData } from 'node:worker_threads'
import { toEnvelope } from '@multireactor/addon'
import { runThread, type ThreadSide, watchHeap, workerRequests } from '@multireactor/pool/parts'
import { frameWork } from './frame_work.js'
import { frameListeners } from './frame_listeners.js'
import { loadApps, placesOf } from './load_app.js'
import { pinThread } from './pin.js'
import type { ListenerPlan } from './reactor_thread.js'
import { ServerHandle } from './server_handle.js'

export interface WorkerThreadData {
  runtime: number
  index: number
  plans: ListenerPlan[]
  concurrency: number
  nice: number
  taskTimeoutMs: number
  /** The only one it runs on. */
  cpu: number | undefined
  /** See `watchHeap`. */
  mostGarbage: number | undefined
}

void runThread(async (side: ThreadSide) => {
  const { runtime, index, plans, concurrency, nice, taskTimeoutMs, cpu, mostGarbage } = workerData as WorkerThreadData
  pinThread(cpu)
  watchHeap(mostGarbage)
  const apps = await loadApps(plans)
  const server = ServerHandle.of(runtime)
  for (const [url, app] of apps) await app.start?.({ role: 'worker', index, listeners: placesOf(plans, url), server })
  const work = plans.map(({ app }) => frameWork(apps.get(app)!))
  const from = frameListeners(plans)
  const requests = workerRequests({
    runtime,
    index,
    work: (listener) => work[listener]!,
    listener: (listener) => from[listener]!,
    concurrency,
    nice,
    taskTimeoutMs,
    onFailure: (error, listener) =>
      side.event('error', { error: toEnvelope(error), hook: 'parse', listener, thread: `worker ${index}` }),
  })
  return {
    description: undefined,
    requests: {
      ...requests,
      stop: async () => {
        requests.stop()
        for (const app of apps.values()) {
          try {
            await app.stop?.()
          } catch (error) {
            side.event('error', { error: toEnvelope(error), hook: 'stop', listener: '', thread: `worker ${index}` })
          }
        }
        server.close()
      },
    },
  }
})
