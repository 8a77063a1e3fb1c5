import { once } from 'node:events'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { attach, type CloseReason, Reactor } from '@multireactor/reactor'
import type { ExistingServer } from '@multireactor/reactor'

/** An existing server, on a port of its own or on a reactor. */
export interface Side {
  readonly name: string
  readonly port: number
  /** The reasons of the reactor's connections that have closed. */
  readonly reasons: CloseReason[]
  close(): Promise<void>
}

/** The server as Node runs it: the baseline. */
export async function onNet(server: ExistingServer & Pick<net.Server, 'listen'>): Promise<Side> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  const sockets = new Set<net.Socket>()
  server.on('connection', (socket: net.Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return {
    name: 'net',
    port,
    reasons: [],
    async close() {
      for (const socket of sockets) socket.destroy()
      if (!server.listening) return
      server.close()
      await once(server, 'close')
    },
  }
}

/** The server on a reactor of this thread. */
export async function onReactor(server: ExistingServer): Promise<Side> {
  const reasons: CloseReason[] = []
  const reactor = new Reactor()
  const hooks = attach(server)
  const { port } = await reactor.listen(
    { port: 0, host: '127.0.0.1' },
    { ...hooks, close: (_conn: unknown, reason: CloseReason) => void reasons.push(reason) },
  )
  return { name: 'reactor', port, reasons, close: async () => void (await reactor.close({ timeoutMs: 0 })) }
}

/** Runs the same on both, and returns both results: the reactor's must be the baseline's. */
export async function onBoth<T>(
  make: () => ExistingServer & Pick<net.Server, 'listen'>,
  run: (side: Side, server: ExistingServer) => Promise<T>,
): Promise<{ net: T; reactor: T }> {
  const results: T[] = []
  for (const start of [onNet, onReactor]) {
    const server = make()
    const side = await start(server)
    try {
      results.push(await run(side, server))
    } finally {
      await side.close()
    }
  }
  return { net: results[0]!, reactor: results[1]! }
}

/** The events of one end of a connection, in order. */
export function watch(stream: Duplex): string[] {
  const seen: string[] = []
  stream.on('end', () => seen.push('end'))
  stream.on('finish', () => seen.push('finish'))
  stream.on('error', (error: NodeJS.ErrnoException) => seen.push(`error ${error.code}`))
  stream.on('close', () => seen.push('close'))
  return seen
}

export function connectTo(side: Side, options: Partial<net.NetConnectOpts> = {}): Promise<net.Socket> {
  const socket = net.connect({ port: side.port, host: '127.0.0.1', ...options } as net.NetConnectOpts)
  socket.on('error', () => {})
  return once(socket, 'connect').then(() => socket)
}

/** Everything until the other side ends. */
export async function readAll(socket: net.Socket): Promise<string> {
  let all = ''
  socket.setEncoding('latin1')
  try {
    for await (const part of socket) all += part as string
  } catch (error) {
    all += `[${(error as NodeJS.ErrnoException).code}]`
  }
  return all
}
