import { once } from 'node:events'
import net from 'node:net'
import { type HttpAppOptions, httpApp } from '@multireactor/http'
import { Reactor } from '@multireactor/reactor'

/** An HTTP app on a reactor of the test's own thread, and plain sockets to it. */
export class HttpServer {
  readonly reactor: Reactor
  readonly errors: unknown[] = []
  port = 0

  private constructor() {
    this.reactor = new Reactor({ onError: (error) => this.errors.push(error) })
  }

  static async start(options: HttpAppOptions): Promise<HttpServer> {
    const server = new HttpServer()
    server.port = (await server.reactor.listen({ port: 0, host: '127.0.0.1' }, httpApp(options))).port
    return server
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** Sends the parts one by one, and resolves to everything that came when the server has closed. */
  async exchange(...parts: (string | Uint8Array)[]): Promise<string> {
    return exchange(this.port, parts)
  }

  async close(): Promise<void> {
    await this.reactor.close({ timeoutMs: 2_000 })
  }
}

/** As `HttpServer.exchange`. The parts of a response that depend on the time are left out. */
export async function exchange(port: number, parts: readonly (string | Uint8Array)[]): Promise<string> {
  return (await exchangeAll(port, parts)).replace(/Date: [^\r]*\r\n/g, '')
}

/** The same, with every byte. */
export async function exchangeAll(port: number, parts: readonly (string | Uint8Array)[]): Promise<string> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  let text = ''
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    text += chunk
  })
  socket.on('error', () => {})
  const closed = once(socket, 'close')
  await once(socket, 'connect')
  for (const part of parts) {
    socket.write(part)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await closed
  return text
}

/** The statuses of the responses in a stream, whose bodies must not look like one. */
export function statuses(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
}

export function bytesOf(text: string): string[] {
  return [...text]
}
