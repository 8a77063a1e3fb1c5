import type { AddressInfo, Server } from 'node:net'

/** Listens on a free loopback port. The backlog is deep because the load generator connects in a burst. */
export function listeningPort(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => resolve((server.address() as AddressInfo).port))
  })
}
