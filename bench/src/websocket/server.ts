// One WebSocket echo server of the comparison, in a process of its own: `node server.js NAME` prints its port and serves until its
// stdin ends.
import { once } from 'node:events'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { httpApp } from '@multireactor/http'
import { Reactor } from '@multireactor/reactor'
import { WebSocketServer } from 'ws'
import { freePort } from '../free-port.js'

const mostBytes = 1 << 20

interface Uws {
  App(): {
    ws(
      path: string,
      behavior: {
        maxPayloadLength: number
        message(socket: { send(data: ArrayBuffer, isBinary: boolean): void }, data: ArrayBuffer, isBinary: boolean): void
      },
    ): { listen(host: string, port: number, started: (socket: unknown) => void): void }
  }
}

const servers: Record<string, () => Promise<number>> = {
  ws: async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: mostBytes })
    server.on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })))
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  },
  uws: async () => {
    const free = await freePort()
    return new Promise((resolve) => {
      const uws = createRequire(import.meta.url)('@rjweb/uws') as Uws
      uws
        .App()
        .ws('/*', { maxPayloadLength: mostBytes, message: (socket, data, isBinary) => socket.send(data, isBinary) })
        // It does not tell which port it got.
        .listen('127.0.0.1', free, () => resolve(free))
    })
  },
  multireactor: async () => {
    const app = httpApp({ websocket: { maxMessageBytes: mostBytes, message: (socket, data) => socket.send(data) } })
    return (await new Reactor().listen({ port: 0, host: '127.0.0.1' }, app)).port
  },
}

const start = servers[process.argv[2] ?? '']
if (!start) throw new Error(`no server of the name ${process.argv[2]}: ${Object.keys(servers).join(', ')}`)
console.log(await start())
process.stdin.resume().on('end', () => process.exit(0))
