import type { Reactor } from '@multireactor/reactor'
import type { Client } from './client.js'

/** Turns of this thread's event loop in which nothing has moved: nobody takes any more. */
const mostIdle = 100

/**
 * Sends the chunk again and again, until a reactor of this thread takes no more, the connection ends, or `most` bytes have been
 * taken. Resolves to how many bytes it has taken.
 */
export async function flood(client: Client, chunk: Uint8Array, reactor: Reactor, most: number): Promise<number> {
  const read = (): number => reactor.stats().bytesRead
  const before = read()
  let taken = 0
  for (let idle = 0; idle < mostIdle && taken < most && !client.ended && !client.closed; idle++) {
    if (client.socket.writableLength < chunk.length) client.write(chunk)
    await new Promise(setImmediate)
    if (read() - before !== taken) idle = 0
    taken = read() - before
  }
  return taken
}
