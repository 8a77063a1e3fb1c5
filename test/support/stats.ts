import type { Server, ServerStats } from '@multireactor/core'

/** The counters of a server, as soon as they are so: they change without telling us. */
export async function statsOnce(server: Server, done: (stats: ServerStats) => boolean): Promise<ServerStats> {
  for (;;) {
    const stats = server.stats()
    if (done(stats)) return stats
    await new Promise((resolve) => setImmediate(resolve))
  }
}
