import { once } from 'node:events'
import { connect, isIP, type NetConnectOpts, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Wire } from './send_wire.js'

export interface SendSettings {
  target: { host: string; port: number } | { path: string }
  tls: { ca: Buffer | undefined; insecure: boolean } | undefined
  wire: Wire
  messages: AsyncIterable<Buffer> | Iterable<Buffer>
  /** Replies to wait for. Default: one for each message; with a wire that is a stream, all until the server ends. */
  count: number | undefined
  /** Goes on until the server ends. */
  follow: boolean
  /** Without a byte for so long it fails. 0: never. */
  timeoutMs: number
  print(reply: Buffer): void
}

/** Sends the messages and prints the replies. Rejects when a reply did not come. */
export async function send(settings: SendSettings): Promise<void> {
  const { wire, count, follow, timeoutMs, print } = settings
  const socket = await connected(settings)
  let sent = 0
  let received = 0
  let allSent = false
  const untilEnd = follow || (wire.isStream && count === undefined)
  const wanted = () => count ?? sent
  const isDone = () => allSent && !untilEnd && received >= wanted()
  const soFar = () => (untilEnd ? `${received} replies` : `${received} of ${wanted()} ${wanted() === 1 ? 'reply' : 'replies'}`)
  const finished = new Promise<void>((resolve, reject) => {
    const attempt = (action: () => void): void => {
      try {
        action()
      } catch (error) {
        reject(error)
      }
    }
    const look = (): void => {
      if (isDone()) resolve()
    }
    const take = (replies: readonly Buffer[]): void => {
      for (const reply of replies) {
        // Unrequested messages are printed, too: a publication, a greeting.
        received++
        print(reply)
      }
      look()
    }
    socket.on('data', (chunk: Buffer) => attempt(() => take(wire.take(chunk))))
    socket.on('end', () => {
      attempt(() => {
        const rest = wire.rest()
        if (rest) take([rest])
        if (untilEnd || isDone()) resolve()
        else throw new Error(`the server ended the connection after ${soFar()}`)
      })
    })
    socket.on('error', (error) => reject(described(error)))
    socket.on('close', () => reject(new Error(`the connection closed after ${soFar()}`)))
    if (timeoutMs > 0) {
      socket.setTimeout(timeoutMs, () => reject(new Error(`nothing came for ${timeoutMs} ms, after ${soFar()}`)))
    }
    const feed = async (): Promise<void> => {
      for await (const message of settings.messages) {
        sent++
        // If the peer does not read, reading the input pauses: unsent input must not pile up in memory.
        if (!socket.write(wire.encode(message))) await Promise.race([once(socket, 'drain'), once(socket, 'close')])
        if (socket.destroyed) return
      }
      allSent = true
      if (untilEnd && !follow) socket.end()
      look()
    }
    feed().catch(reject)
  })
  try {
    await finished
    // Waits until the last bytes are sent, so that they are not cut off.
    if (!socket.destroyed && !socket.writableEnded) await new Promise<void>((resolve) => socket.end(resolve))
  } finally {
    socket.destroy()
  }
}

async function connected({ target, tls, timeoutMs }: SendSettings): Promise<Socket> {
  const options: NetConnectOpts = 'path' in target ? { path: target.path } : { host: target.host, port: target.port }
  const servername = 'host' in target && isIP(target.host) === 0 ? target.host : undefined
  const socket = tls
    ? connectTls({
        ...options,
        ...(tls.ca ? { ca: tls.ca } : {}),
        ...(servername === undefined ? {} : { servername }),
        rejectUnauthorized: !tls.insecure,
      })
    : connect(options)
  const late = new AbortController()
  const timer = timeoutMs > 0 ? setTimeout(() => late.abort(), timeoutMs) : undefined
  try {
    await once(socket, tls ? 'secureConnect' : 'connect', { signal: late.signal })
  } catch (error) {
    socket.on('error', () => {}).destroy()
    throw late.signal.aborted ? new Error(`no connection within ${timeoutMs} ms`) : described(error as Error)
  } finally {
    clearTimeout(timer)
  }
  return socket
}

/** A name with several addresses fails with all of their errors, and without a message. */
function described(error: Error): Error {
  const errors = (error as AggregateError).errors as Error[] | undefined
  return errors ? new Error(errors.map(({ message }) => message).join(', '), { cause: error }) : error
}
