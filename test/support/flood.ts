import { readFileSync } from 'node:fs'
import type { Reactor } from '@multireactor/reactor'
import type { Client } from './client.js'

/** Turns of this thread's event loop in which bytes lay in the socket of the reactor, and it took none: it has stopped. */
const mostIdle = 100

/** Bytes that the kernel has for the other end of a connection over 127.0.0.1, still unread. */
function unreadOf({ localPort, remotePort }: { localPort?: number | undefined; remotePort?: number | undefined }): number {
  const hex = (port: number | undefined): string => port!.toString(16).toUpperCase().padStart(4, '0')
  const ends = `:${hex(remotePort)} 0100007F:${hex(localPort)} `
  const row = readFileSync('/proc/net/tcp', 'latin1')
    .split('\n')
    .find((line) => line.includes(ends))
  return row === undefined ? 0 : Number.parseInt(row.trim().split(/ +/)[4]!.split(':')[1]!, 16)
}

/**
 * Sends the chunk again and again, until a reactor of this thread takes no more, the connection ends, or `most` bytes have been
 * taken. Resolves to how many bytes it has taken.
 */
export async function flood(client: Client, chunk: Uint8Array, reactor: Reactor, most: number): Promise<number> {
  const read = (): number => reactor.stats().bytesRead
  const before = read()
  let taken = 0
  for (let idle = 0; idle < mostIdle && taken < most && !client.ended && !client.closed; ) {
    if (client.socket.writableLength < chunk.length) client.write(chunk)
    await new Promise(setImmediate)
    const now = read() - before
    // Where nothing lies there, the kernel is slow, and not the reactor.
    idle = now === taken && unreadOf(client.socket) > 0 ? idle + 1 : 0
    taken = now
  }
  return taken
}
