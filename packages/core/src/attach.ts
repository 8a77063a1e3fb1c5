import { MultireactorError, OptionReader, shown } from '@multireactor/addon'
import type { AttachOptions, ExistingServer } from '@multireactor/reactor'
import { hooksFor, ServerFace, withEngineSide } from '@multireactor/reactor/app'
import type { App, StartContext } from './app.js'

/** An object that a factory of `attach` may return instead of the bare server. */
export interface AttachedServer extends AttachOptions {
  /** The server that gets the connections. */
  server: ExistingServer
  /** The thread ends, and the server's connections have: the framework's own goodbye, such as `() => app.close()`. */
  close?: () => unknown
}

/** Hooks that an app may have beside an existing server: work for the pool, and calls. */
export type AttachHooks = Pick<App, 'parse' | 'task' | 'error' | 'overloaded' | 'onCall'>

const hookNames = ['parse', 'task', 'error', 'overloaded', 'onCall'] as const

/**
 * An app that runs an existing server, unchanged, on every reactor. `make` is called once in each reactor's thread, and returns a server
 * that does not listen:
 *
 * ```ts
 * // app.ts
 * export default attach(() => http.createServer(handler))
 * ```
 *
 * With `hooks`, handlers hand heavy work to the pool: `task` by `server.runTask` of the context, `parse` by `server.run`.
 *
 * The servers of two reactors share nothing but the port. Connections live with their thread: docs/existing-servers.md.
 */
export function attach(
  make: (context: StartContext) => ExistingServer | AttachedServer | Promise<ExistingServer | AttachedServer>,
  hooks: AttachHooks = {},
): App<undefined> {
  if (typeof make !== 'function') {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `attach(): must be a function that makes the server, such as () => http.createServer(handler), since it runs once in each reactor's thread, and is ${shown(make)}`,
    )
  }
  const read = new OptionReader('attach()', hooks, hookNames)
  for (const name of hookNames) read.func(name)
  let face: ServerFace | undefined
  let close: (() => unknown) | undefined
  const app: App<undefined> = {
    ...hooksFor(() => face!),
    ...hooks,
    async start(context) {
      if (context.role !== 'reactor') return
      const made = await make(context)
      if (typeof made !== 'object' || made === null) {
        const remedy = typeof made === 'function' ? ': return http.createServer(app)' : ''
        throw new MultireactorError(
          'ERR_MR_OPTION_TYPE',
          `attach(): the function must return a server such as http.createServer() makes, or { server, drain, close }, and has returned ${shown(made)}${remedy}`,
        )
      }
      const { server, ...options } = 'server' in made ? (made as AttachedServer) : { server: made }
      close = 'close' in options ? options.close : undefined
      face = new ServerFace(server, options.drain ? { drain: options.drain } : {})
    },
    async stop() {
      face?.closed()
      await close?.()
    },
  }
  return withEngineSide(app, {
    get existingServer() {
      return face
    },
  })
}
