import type { AttachOptions, StockServer } from '@multireactor/reactor'
import { hooksFor, StockFace, type StockServerSide, stockServer } from '@multireactor/reactor/app'
import type { App, StartContext } from './app.js'

/** What a factory of `attach` may return instead of the bare server. */
export interface AttachedServer extends AttachOptions {
  server: StockServer
  /** The thread ends, and the server's connections have: the framework's own goodbye, such as `() => app.close()`. */
  close?: () => unknown
}

/**
 * An app that runs a stock server, unchanged, on every reactor. `make` is called once in each reactor's thread, and returns a server
 * that does not listen:
 *
 * ```ts
 * // app.ts
 * export default attach(() => http.createServer(handler))
 * ```
 *
 * The servers of two reactors share nothing but the port. Connections live with their thread: docs/stock-servers.md.
 */
export function attach(
  make: (context: StartContext) => StockServer | AttachedServer | Promise<StockServer | AttachedServer>,
): App<undefined> & { readonly [stockServer]: StockServerSide | undefined } {
  let face: StockFace | undefined
  let close: (() => unknown) | undefined
  return {
    ...hooksFor(() => face!),
    async start(context) {
      if (context.role !== 'reactor') return
      const made = await make(context)
      const { server, ...options } = 'server' in made ? (made as AttachedServer) : { server: made }
      close = 'close' in options ? options.close : undefined
      face = new StockFace(server, options.drain ? { drain: options.drain } : {})
    },
    async stop() {
      face?.closed()
      await close?.()
    },
    get [stockServer]() {
      return face
    },
  }
}
