import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { createInterface } from 'node:readline'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import { fileURLToPath } from 'node:url'

/** How a client half-closes behind its last request: FIN in a packet of its own, in that of the request, and with TLS also only half of it. */
export const plainEnds = ['FIN behind it', 'FIN with it'] as const
export const tlsEnds = [
  'goodbye and FIN behind it',
  'goodbye and FIN with it',
  'goodbye without FIN',
  'FIN without goodbye',
] as const
export type End = (typeof plainEnds)[number] | (typeof tlsEnds)[number]

const ca = readFileSync(new URL('../../existing/certificates/ca.pem', import.meta.url))

/** Clients that half-close in every way; see corked_relay.py. */
export class HalfClosing {
  readonly #relay: ChildProcess
  readonly #port: number

  private constructor(relay: ChildProcess, port: number) {
    this.#relay = relay
    this.#port = port
  }

  static async start(): Promise<HalfClosing> {
    const script = fileURLToPath(new URL('../../support/corked_relay.py', import.meta.url))
    const relay = spawn('python3', [script], { stdio: ['pipe', 'pipe', 'inherit'] })
    const [line] = (await once(createInterface({ input: relay.stdout }), 'line')) as [string]
    return new HalfClosing(relay, Number(line))
  }

  async close(): Promise<void> {
    const ended = once(this.#relay, 'close')
    this.#relay.stdin!.end()
    await ended
  }

  /** Connects, with a handshake where `secure` says so. */
  async connect(port: number, secure: boolean): Promise<HalfClosingClient> {
    const below = new Relayed(this.#port, port)
    if (!secure) return new HalfClosingClient(below, below)
    const socket = tls.connect({ socket: below, ca, servername: 'first.example' })
    await once(socket, 'secureConnect')
    return new HalfClosingClient(below, socket)
  }
}

export class HalfClosingClient {
  readonly #below: Relayed
  readonly #stream: Duplex

  constructor(below: Relayed, stream: Duplex) {
    this.#below = below
    this.#stream = stream
  }

  /** A request that is not the last one, and the first piece of its answer. */
  async ask(text: string): Promise<void> {
    this.#stream.write(text)
    await once(this.#stream, 'data')
    this.#stream.pause()
  }

  /** The last request, with its end, and everything up to the server's end. */
  async askAndEnd(text: string, end: End): Promise<Buffer> {
    const below = this.#below
    const parts: Buffer[] = []
    this.#stream.on('data', (part: Buffer) => void parts.push(part)).resume()
    const ended = once(this.#stream, 'end')
    try {
      if (!end.endsWith('behind it')) below.hold()
      if (end === 'FIN without goodbye') this.#stream.write(text, () => below.release(true))
      else {
        below.finish = () => below.release(end !== 'goodbye without FIN')
        this.#stream.end(text)
      }
      await ended
    } finally {
      this.#stream.destroy()
      below.destroy()
    }
    return Buffer.concat(parts)
  }
}

/** A connection through the relay. */
class Relayed extends Duplex {
  readonly #socket: net.Socket
  #held: Buffer[] | undefined
  finish: () => void = () => {}

  constructor(relay: number, port: number) {
    super({ allowHalfOpen: true })
    this.#socket = net.connect({ port: relay, host: '127.0.0.1', allowHalfOpen: true })
    this.#socket.write(`${port}\n`)
    this.#socket.on('data', (bytes) => this.push(bytes))
    this.#socket.on('end', () => this.push(null))
    this.#socket.on('error', (error) => this.destroy(error))
  }

  /** Later writes wait for `release`. */
  hold(): void {
    this.#held = []
  }

  release(isLast: boolean): void {
    this.#send(Buffer.concat(this.#held ?? []), isLast)
    this.#held = undefined
  }

  #send(bytes: Buffer, isLast: boolean): void {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(bytes.length + (isLast ? 2 ** 31 : 0))
    this.#socket.write(Buffer.concat([head, bytes]))
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.#held) this.#held.push(bytes)
    else this.#send(bytes, false)
    done()
  }

  override _final(done: () => void): void {
    this.finish()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }
}
