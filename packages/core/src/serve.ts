import type { ServeOptions } from './options.js'
import type { Server } from './server.js'

/** Starts a server, and resolves when every reactor accepts. */
export async function serve(options: ServeOptions): Promise<Server> {
  // Not before it is called: app modules come by here in every thread, and few of those start a server.
  const { startServer } = await import('./server.js')
  return startServer(options)
}
