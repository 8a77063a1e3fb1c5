import { timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { promises as dns } from 'node:dns'
import { createServer, type IncomingMessage, type Server as HttpServer, type ServerResponse } from 'node:http'
import { type AddressInfo, BlockList, isIPv6, type Socket } from 'node:net'
import { MultireactorError } from '@multireactor/addon'
import { type CheckedAdmin, digestOf } from './admin_options.js'
import { prometheusContentType } from './prometheus.js'

/** The data of the answers. */
export interface AdminSource {
  metrics(): string
  /** Resolves to why no traffic should come here, or to nothing when it may. */
  unready(): Promise<string | undefined>
  warn(message: string): void
}

/** Connections at a time. One more closes the oldest one: peers that hold connections open do not keep a probe out. */
const mostAdminConnections = 32
/** For a request to arrive, and for a response to be taken. */
const adminTimeoutMs = 5_000
const mostHeaderBytes = 8_192
/** The time between attempts to listen where a predecessor has the port. */
const retryMs = 20
/** A predecessor lets go as soon as it hears of its successor. */
const mostRetryMs = 5_000

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/**
 * `/metrics`, `/healthz` and `/readyz` over HTTP, on the main thread: it answers while every reactor is stuck. It does not keep the
 * process alive, and each connection carries one request.
 */
export class AdminServer {
  readonly #settings: CheckedAdmin
  readonly #source: AdminSource
  readonly #sockets = new Set<Socket>()
  readonly #asked = new WeakSet<Socket>()
  #http: HttpServer | undefined
  #closed = false

  constructor(settings: CheckedAdmin, source: AdminSource) {
    this.#settings = settings
    this.#source = source
  }

  get address(): { address: string; port: number } | undefined {
    const at = this.#http?.address() as AddressInfo | null | undefined
    return at ? { address: at.address, port: at.port } : undefined
  }

  /** Rejects with `EADDRINUSE` and the like, and with `ERR_MR_ADMIN_TOKEN` for a host that others can reach, without a token. */
  async listen(): Promise<void> {
    const { host, port, tokenDigest, warning } = this.#settings
    const address = await this.#resolve(host)
    if (tokenDigest === undefined && !loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')) {
      throw new MultireactorError(
        'ERR_MR_ADMIN_TOKEN',
        `serve() admin: ${host} is not a loopback address, so /metrics needs a token: give tokenFile (--admin-token FILE), or listen on 127.0.0.1`,
      )
    }
    const http = createServer(
      {
        maxHeaderSize: mostHeaderBytes,
        headersTimeout: adminTimeoutMs,
        requestTimeout: adminTimeoutMs,
        connectionsCheckingInterval: 1_000,
      },
      (request, response) => {
        // Requests that wait behind the first one: thousands fit into one read, and each would be worked out before the connection closes.
        if (this.#asked.has(request.socket)) return
        this.#asked.add(request.socket)
        void this.#answer(request, response)
      },
    )
    http.timeout = adminTimeoutMs
    http.on('connection', (socket) => this.#admit(socket))
    http.unref()
    http.listen({ host: address, port })
    try {
      await once(http, 'listening')
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      throw Object.assign(new MultireactorError(code ?? 'ERR_MR_SYSTEM', `serve() admin: ${message}`, { cause: error }), {
        syscall: 'listen',
        address,
        port,
      })
    }
    // Such as EMFILE of an accept.
    http.on('error', (error) => this.#source.warn(`the admin listener: ${error.message}`))
    this.#http = http
    if (this.#closed) this.close()
    if (warning !== undefined) this.#source.warn(warning)
  }

  /** The port may still be a predecessor's. Without it the server goes on: the predecessor has gone by then. */
  async listenAfter(predecessor: Promise<void>): Promise<void> {
    await predecessor
    const until = performance.now() + mostRetryMs
    while (!this.#closed) {
      try {
        return await this.listen()
      } catch (error) {
        const inUse = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
        if (!inUse || performance.now() > until)
          return this.#source.warn(`there is no admin listener: ${(error as Error).message}`)
        await new Promise((resolve) => setTimeout(resolve, retryMs))
      }
    }
  }

  close(): void {
    this.#closed = true
    this.#http?.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  async #resolve(host: string): Promise<string> {
    try {
      return (await dns.lookup(host)).address
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException
      throw new MultireactorError(code ?? 'ERR_MR_SYSTEM', `serve() admin: ${message}`, { cause })
    }
  }

  #admit(socket: Socket): void {
    socket.unref()
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    if (this.#sockets.size <= mostAdminConnections) return
    for (const oldest of this.#sockets) {
      oldest.destroy()
      this.#sockets.delete(oldest)
      return
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A request that its peer takes back, and bytes behind a request, are not errors here.
    request.on('error', () => {})
    response.on('error', () => {})
    response.shouldKeepAlive = false
    const say = (status: number, text: string, fields: Record<string, string> = {}): void => {
      const content = Buffer.from(text)
      response.writeHead(status, {
        'Content-Type': 'text/plain; charset=utf-8',
        'Content-Length': content.length,
        'Cache-Control': 'no-store',
        ...fields,
      })
      response.end(request.method === 'HEAD' ? undefined : content)
    }
    try {
      const path = (request.url ?? '').split('?', 1)[0]
      if (path !== '/metrics' && path !== '/healthz' && path !== '/readyz') {
        return say(404, 'There are /metrics, /healthz and /readyz here.\n')
      }
      if (request.method !== 'GET' && request.method !== 'HEAD') return say(405, 'GET and HEAD only.\n', { Allow: 'GET, HEAD' })
      if (path === '/healthz') return say(200, 'ok\n')
      if (path === '/readyz') {
        const why = await this.#source.unready()
        return why === undefined ? say(200, 'ok\n') : say(503, `${why}\n`)
      }
      if (!this.#mayRead(request.headers.authorization)) {
        return say(401, 'The token of --admin-token is missing or wrong.\n', { 'WWW-Authenticate': 'Bearer' })
      }
      say(200, this.#source.metrics(), { 'Content-Type': prometheusContentType })
    } catch (error) {
      this.#source.warn(`the admin listener: ${(error as Error).message}`)
      response.destroy()
    }
  }

  #mayRead(authorization: string | undefined): boolean {
    const { tokenDigest } = this.#settings
    if (tokenDigest === undefined) return true
    const token = /^Bearer +([^ ]+) *$/i.exec(authorization ?? '')?.[1]
    return token !== undefined && timingSafeEqual(digestOf(token), tokenDigest)
  }
}
