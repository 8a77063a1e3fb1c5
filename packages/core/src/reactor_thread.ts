import { workerData } from 'node:worker_threads'
import { type BalancePolicy, closeReasons, toEnvelope } from '@multireactor/addon'
import { InlineLoop, runThread, type ThreadSide, watchHeap } from '@multireactor/pool/parts'
import { Engine, handleFor } from '@multireactor/reactor/parts'
import { engineSideOf } from '@multireactor/reactor/app'
import type { ConnectionHandlers, ListenTls } from '@multireactor/reactor'
import { connectionOptions, loadApps, placesOf } from './load_app.js'
import { frameListeners } from './frame_listeners.js'
import { frameWork } from './frame_work.js'
import { pinThread } from './pin.js'
import { ServerHandle } from './server_handle.js'

export interface ListenerPlan {
  name: string
  app: string
  /** Undefined: the app's balance hook decides, or the kernel. */
  balance: BalancePolicy | undefined
  /** Makes an app of a module that exports `fetch`: the URL of a module. */
  fetchAdapter?: string
  /** The literal address, or the Unix path. */
  address: string
  /** 0 for a Unix path. */
  port: number
  tls?: ListenTls
}

export interface ReactorThreadData {
  runtime: number
  index: number
  hasPool: boolean
  /** Its workers run whether an app needs them or not. */
  poolIsGiven: boolean
  plans: ListenerPlan[]
  taskTimeoutMs: number
  /** The only one it runs on. */
  cpu: number | undefined
  /** See `watchHeap`. */
  mostGarbage: number | undefined
  /** Loads no app: the reactor only hands everything to its siblings. */
  caretaker: boolean
}

/** Describes the apps that a reactor's thread has loaded; the main thread never loads them. */
export interface AppDescription {
  /** Some frames go to a pool. */
  usesPool: boolean
  needsPool: boolean
  /** Some frames may run on the reactor. */
  runsFrames: boolean
  /** Modules of apps that do not say how bytes become frames. */
  unframed: string[]
  /** By listener: the hooks of its app that `server.run` and `server.runTask` may ask for. */
  hooks: { parse: boolean; task: boolean }[]
}

/** How a thread takes over its reactor. */
export interface AttachRequest {
  /** The last thread died, and its JavaScript state of the connections is lost. */
  lost: boolean
}

export interface ListenRequest {
  listener: number
  group: number
  member: number
  /** Fresh connections go round all reactors: there are not as many listening sockets as reactors. */
  spread: boolean
}

const usesPool = ({ parse, run, task }: { parse?: unknown; run?: string; task?: unknown }): boolean =>
  task !== undefined || (parse !== undefined && run !== 'inline')

void runThread(async (side: ThreadSide) => {
  const { runtime, index, caretaker, taskTimeoutMs, ...data } = workerData as ReactorThreadData
  pinThread(data.cpu)
  watchHeap(data.mostGarbage)
  const plans = caretaker ? [] : data.plans
  const apps = await loadApps(plans)
  const all = [...apps.values()]
  // Listeners are numbered in the order of the plans, in every thread alike. Read now: a mistake must show before a thread attaches.
  const listeners = plans.map(({ name, app, balance }) => {
    const loaded = apps.get(app)!
    return {
      name,
      handlers: loaded as ConnectionHandlers<unknown>,
      options: connectionOptions(loaded, name),
      loaded,
      balance: balance ?? (loaded.balance ? 'app' : 'kernel'),
    } as const
  })
  const server = ServerHandle.of(runtime)
  let drives!: (engine: Engine) => void
  const reactor = handleFor(
    index,
    new Promise<Engine>((resolve) => {
      drives = resolve
    }),
  )
  const host = all.find((app) => app.onCall !== undefined)
  const onCall = host && ((bytes: Buffer) => host.onCall!(bytes, { reactor: index, server }))
  if (onCall) server.hostCalls(index, onCall)
  for (const [url, app] of apps) {
    await app.start?.({ role: 'reactor', index, listeners: placesOf(plans, url), server, reactor })
  }
  // Few need it, and it is a lot.
  const { SecureListener } = plans.some(({ tls }) => tls) ? await import('@multireactor/reactor/secure') : {}
  let onDrained: (() => void) | undefined
  let attached: Engine | undefined
  const engine = (): Engine => attached!
  const untilDrained = (begin: () => void) =>
    new Promise<void>((resolve) => {
      onDrained = resolve
      begin()
    })
  const hasPool = data.hasPool && (data.poolIsGiven || all.some(usesPool))
  const attach = (): Engine =>
    new Engine(runtime, index, hasPool, {
      handlerError: (error, hook, listener) =>
        side.event('error', { error: toEnvelope(error), hook, listener, thread: `reactor ${index}` }),
      acceptError: (errno, listener) => side.event('acceptError', { errno, listener }),
      onCall,
      drained: () => onDrained?.(),
    })
  const stopApps = async (): Promise<void> => {
    for (const app of all) {
      try {
        await app.stop?.()
      } catch (error) {
        // The others stop all the same.
        side.event('error', { error: toEnvelope(error), hook: 'stop', listener: '', thread: `reactor ${index}` })
      }
    }
    server.close()
  }
  const description: AppDescription = {
    usesPool: all.some(usesPool),
    needsPool: all.some((app) => app.parse !== undefined && app.message === undefined && app.run !== 'inline'),
    runsFrames: all.some((app) => app.run !== undefined && app.run !== 'pool'),
    unframed: [...apps]
      .filter(([, app]) => app.framing === undefined && !('existingServer' in (engineSideOf(app) ?? {})))
      .map(([url]) => url),
    hooks: listeners.map(({ loaded }) => ({ parse: loaded.parse !== undefined, task: loaded.task !== undefined })),
  }
  const runFrames = (engine: Engine): void => {
    if (!description.runsFrames) return
    const work = plans.map(({ app }) => frameWork(apps.get(app)!))
    const from = frameListeners(plans)
    engine.runFramesWith(
      (driver) =>
        new InlineLoop(driver, {
          work: (listener) => work[listener]!,
          listener: (listener) => from[listener]!,
          taskTimeoutMs,
          onFailure: (error, listener) =>
            side.event('error', { error: toEnvelope(error), hook: 'parse', listener, thread: `reactor ${index}` }),
        }),
    )
  }
  return {
    description,
    requests: {
      attach: ({ lost }: AttachRequest) => {
        attached = attach()
        runFrames(attached)
        for (const [i, { name, handlers, options, loaded, balance }] of listeners.entries()) {
          const { parse, overloaded, run } = loaded
          const { tls } = plans[i]!
          const secure = tls && new SecureListener!(tls)
          attached.addListener({
            name,
            handlers,
            options,
            toPool: parse !== undefined,
            answersOverload: overloaded !== undefined,
            run,
            balance,
            secure,
          })
        }
        for (const [i, { loaded }] of listeners.entries()) engineSideOf(loaded)?.existingServer?.listening(plans[i]!)
        attached.driver.restoreConnections(lost)
        drives(attached)
      },
      listen: ({ listener, group, member, spread }: ListenRequest) => engine().driver.listen(listener, group, member, spread),
      setTls: ({ listener, tls }: { listener: number; tls: ListenTls }) => {
        plans[listener]!.tls = tls
        attached?.setTls(listener, tls)
      },
      leaveListeners: (graceMs: number) => engine().driver.leaveListeners(graceMs),
      drain: (lingerMs: number) => untilDrained(() => engine().drain(lingerMs)),
      retire: () => untilDrained(() => engine().retire()),
      // At once: a turn in between would hand frames to hooks that are not there.
      takeCare: () =>
        untilDrained(() => {
          attached = attach()
          attached.driver.retire(true)
        }),
      destroyAll: () => engine().driver.destroyAll(closeReasons.indexOf('server-closing')),
      checkSuspend: () => {
        // A successor that has not taken over yet knows of no connection.
        const error = attached?.unclonable()
        if (error) throw error
      },
      suspend: async (timeoutMs: number) => {
        await attached?.suspend(timeoutMs)
        await stopApps()
      },
      stop: async () => {
        await stopApps()
        attached?.close()
      },
    },
  }
})
