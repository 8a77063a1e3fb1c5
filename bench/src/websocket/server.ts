// One WebSocket server of the comparison, in a process of its own: `node server.js NAME [BYTES]` prints its port and serves until its
// stdin ends. It echoes; of the name NAME-fanout, it publishes a message of so many bytes whenever something comes.
import { once } from 'node:events'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { httpApp } from '@multireactor/http'
import { Reactor } from '@multireactor/reactor'
import { WebSocketServer } from 'ws'
import { freePort } from '../free-port.js'
import { fanoutMessage } from './message.js'

const mostBytes = 1 << 20

const published = fanoutMessage(Number(process.argv[3] ?? 1024))
const topic = 'all'

interface UwsSocket {
  send(data: ArrayBuffer, isBinary: boolean): void
  subscribe(topic: string): void
}
interface UwsApp {
  ws(
    path: string,
    behavior: {
      maxPayloadLength: number
      compression?: number
      open?(socket: UwsSocket): void
      message(socket: UwsSocket, data: ArrayBuffer, isBinary: boolean): void
    },
  ): { listen(host: string, port: number, started: (socket: unknown) => void): void }
  publish(topic: string, message: string, isBinary: boolean, compress: boolean): void
}
interface Uws {
  SHARED_COMPRESSOR: number
  App(): UwsApp
}
const uws = (): Uws => createRequire(import.meta.url)('@rjweb/uws') as Uws

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
      uws()
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
  'ws-fanout': async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: mostBytes, perMessageDeflate: true })
    server.on('connection', (socket) =>
      socket.on('message', () => {
        for (const each of server.clients) each.send(published)
      }),
    )
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  },
  'uws-fanout': async () => {
    const free = await freePort()
    return new Promise((resolve) => {
      const { App, SHARED_COMPRESSOR } = uws()
      const app = App()
      app
        .ws('/*', {
          maxPayloadLength: mostBytes,
          compression: SHARED_COMPRESSOR,
          open: (socket) => socket.subscribe(topic),
          message: () => app.publish(topic, published, false, true),
        })
        .listen('127.0.0.1', free, () => resolve(free))
    })
  },
  'multireactor-fanout': async () => {
    const app = httpApp({
      websocket: {
        maxMessageBytes: mostBytes,
        deflate: true,
        open: (socket) => void socket.subscribe(topic),
        message: (socket) => void socket.publish(topic, published),
      },
    })
    return (await new Reactor().listen({ port: 0, host: '127.0.0.1' }, app)).port
  },
}

const start = servers[process.argv[2] ?? '']
if (!start) throw new Error(`no server of the name ${process.argv[2]}: ${Object.keys(servers).join(', ')}`)
console.log(await start())
process.stdin.resume().on('end', () => process.exit(0))
