import { once } from 'node:events'
import net from 'node:net'

/** A TCP client that remembers the received bytes and waits for conditions, not for time. */
export class Client {
  readonly socket: net.Socket
  received: Buffer = Buffer.alloc(0)
  ended = false
  closed = false
  error: Error | undefined
  #wake: (() => void)[] = []

  constructor(socket: net.Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.received = this.received.length === 0 ? chunk : Buffer.concat([this.received, chunk])
      this.#changed()
    })
    socket.on('end', () => {
      this.ended = true
      this.#changed()
    })
    socket.on('error', (error) => {
      this.error = error
      this.#changed()
    })
    socket.on('close', () => {
      this.closed = true
      this.#changed()
    })
  }

  static async connect(target: number | string, options: { allowHalfOpen?: boolean } = {}): Promise<Client> {
    const where = typeof target === 'number' ? { port: target, host: '127.0.0.1' } : { path: target }
    const socket = net.connect({ ...where, allowHalfOpen: options.allowHalfOpen ?? false })
    await once(socket, 'connect')
    return new Client(socket)
  }

  write(data: string | Uint8Array): void {
    this.socket.write(data)
  }

  /** Resolves when `done` says so; rejects when the connection closes before. */
  async until(done: (client: Client) => boolean): Promise<void> {
    while (!done(this)) {
      if (this.closed) throw new Error(`closed after ${this.received.length} bytes: ${this.received.subarray(0, 200).toString()}`)
      await new Promise<void>((resolve) => this.#wake.push(resolve))
    }
  }

  /** The first `count` lines received. */
  async lines(count: number): Promise<string[]> {
    await this.until((client) => newlines(client.received) >= count)
    return this.received.toString().split('\n').slice(0, count)
  }

  async bytes(count: number): Promise<Buffer> {
    await this.until((client) => client.received.length >= count)
    return this.received
  }

  async untilClosed(): Promise<void> {
    while (!this.closed) await new Promise<void>((resolve) => this.#wake.push(resolve))
  }

  destroy(): void {
    this.socket.destroy()
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

function newlines(bytes: Buffer): number {
  let count = 0
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) count++
  return count
}
