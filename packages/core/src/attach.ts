import { OptionReader } from '@multireactor/addon'
import type { AttachOptions, ExistingServer } from '@multireactor/reactor'
import { hooksFor, ServerFace, type ExistingServerSide, existingServer } from '@multireactor/reactor/app'
import type { App, StartContext } from './app.js'

/** What a factory of `attach` may return instead of the bare server. */
export interface AttachedServer extends AttachOptions {
  server: ExistingServer
  /** The thread ends, and the server's connections have: the framework's own goodbye, such as `() => app.close()`. */
  close?: () => unknown
}

/** What an app of an existing server may have beside it: work for the pool, and calls. */
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
): App<undefined> & { readonly [existingServer]: ExistingServerSide | undefined } {
  const read = new OptionReader('attach()', hooks, hookNames)
  for (const name of hookNames) read.func(name)
  let face: ServerFace | undefined
  let close: (() => unknown) | undefined
  return {
    ...hooksFor(() => face!),
    ...hooks,
    async start(context) {
      if (context.role !== 'reactor') return
      const made = await make(context)
      const { server, ...options } = 'server' in made ? (made as AttachedServer) : { server: made }
      close = 'close' in options ? options.close : undefined
      face = new ServerFace(server, options.drain ? { drain: options.drain } : {})
    },
    async stop() {
      face?.closed()
      await close?.()
    },
    get [existingServer]() {
      return face
    },
  }
}
