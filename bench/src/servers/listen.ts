import type { AddressInfo, Server } from 'node:net'
import { promisify } from 'node:util'
import { announce } from './start.js'

/** Listens on a free loopback port. The backlog is deep because the load generator connects in a burst. */
export function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => resolve((server.address() as AddressInfo).port))
  })
}

export async function listenAndAnnounce(server: Server): Promise<void> {
  const open = promisify(server.getConnections).bind(server)
  const asked = performance.now()
  const port = await listen(server)
  const serveMs = performance.now() - asked
  announce([port], async () => ({ open: await open(), frames: [], held: 0 }), serveMs)
}
