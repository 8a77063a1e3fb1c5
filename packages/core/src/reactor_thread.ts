import { workerData } from 'node:worker_threads'
import { closeReasons, toEnvelope } from '@multireactor/addon'
import { runThread, type ThreadSide } from '@multireactor/pool/parts'
import { Engine } from '@multireactor/reactor/parts'
import type { ConnectionHandlers } from '@multireactor/reactor'
import { connectionOptions, loadApps } from './load_app.js'
import { ThreadServer } from './thread_server.js'

export interface ListenerPlan {
  name: string
  app: string
}

export interface ReactorThreadData {
  runtime: number
  index: number
  hasPool: boolean
  plans: ListenerPlan[]
}

/** What a reactor's thread says of the apps it has loaded; the main thread never sees them. */
export interface AppDescription {
  hasParse: boolean
  needsPool: boolean
}

void runThread(async (side: ThreadSide) => {
  const { runtime, index, hasPool, plans } = workerData as ReactorThreadData
  const apps = await loadApps(plans)
  const server = ThreadServer.attach(runtime)
  let onDrained: (() => void) | undefined
  const engine = new Engine(runtime, index, hasPool, {
    handlerError: (error, hook, listener) =>
      side.event('error', { error: toEnvelope(error), hook, listener, thread: `reactor ${index}` }),
    acceptError: (errno, listener) => side.event('acceptError', { errno, listener }),
    drained: () => onDrained?.(),
  })
  // Listeners are numbered in the order of the plans, in every thread alike.
  for (const { name, app } of plans) {
    const loaded = apps.get(app)!
    engine.addListener(name, loaded as ConnectionHandlers<unknown>, connectionOptions(loaded, name), loaded.parse !== undefined)
  }
  for (const app of apps.values()) await app.start?.({ role: 'reactor', index, server })
  const all = [...apps.values()]
  const description: AppDescription = {
    hasParse: all.some((app) => app.parse !== undefined),
    needsPool: all.some((app) => app.parse !== undefined && app.message === undefined),
  }
  return {
    description,
    requests: {
      listen: ({ listener, group, member, spread }: { listener: number; group: number; member: number; spread: boolean }) =>
        engine.driver.listen(listener, group, member, spread),
      drain: (lingerMs: number) =>
        new Promise<void>((resolve) => {
          onDrained = resolve
          engine.driver.drain(lingerMs)
        }),
      destroyAll: () => engine.driver.destroyAll(closeReasons.indexOf('server-closing')),
      stop: async () => {
        for (const app of all) await app.stop?.()
        server.close()
        engine.driver.close()
      },
    },
  }
})
