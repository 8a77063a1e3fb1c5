import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { Duplex } from 'node:stream'
import { httpApp } from '@multireactor/http'
import { type Connection, http1, http1Info, Reactor } from '@multireactor/reactor'

/** The result of a reader for a stream of requests that ends. */
export interface Reading {
  /** `METHOD TARGET BODY`, in the order of their ends. */
  requests: string[]
  /** The head of a request whose body did not end. */
  open: string | undefined
  /** The refusal behind them, in the reader's own words; undefined: none. */
  refused: string | undefined
  /** Why it reads nothing behind the last request: that one wants to close, or asks for another protocol. */
  last: 'close' | 'upgrade' | undefined
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** llhttp, as `node:http` uses it. */
export class NodeReader {
  // Whether there is a `Host` is not llhttp's to say.
  readonly #server = http.createServer({ maxHeaderSize: 16 << 10, requireHostHeader: false })
  readonly #of = new Map<Duplex, { reading: Reading; entries: { head: string; req: http.IncomingMessage; body: Buffer[] }[] }>()

  constructor() {
    Object.assign(this.#server, { httpAllowHalfOpen: true })
    const onRequest = (req: http.IncomingMessage, res: http.ServerResponse): void => {
      // It answers this itself, and goes on reading.
      if (this.#of.get(req.socket)!.reading.refused) return void res.end()
      const { reading } = this.#of.get(req.socket)!
      if (req.headers.upgrade !== undefined && /upgrade/i.test(req.headers.connection ?? '')) reading.last = 'upgrade'
      else if (!res.shouldKeepAlive) reading.last = 'close'
      const body: Buffer[] = []
      this.#of.get(req.socket)!.entries.push({ head: `${req.method} ${req.url}`, req, body })
      req.on('data', (piece: Buffer) => body.push(piece)).on('error', () => {})
      res.end()
    }
    this.#server.on('request', onRequest).on('checkContinue', onRequest)
    this.#server.on('checkExpectation', (req: http.IncomingMessage, res: http.ServerResponse) => {
      this.#of.get(req.socket)!.reading.refused ??= '417'
      res.end()
    })
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      // The end of the stream in the middle of a message is not a refusal; neither are bytes behind the last request.
      if (error.code !== 'HPE_INVALID_EOF_STATE' && error.code !== 'HPE_CLOSED_CONNECTION')
        this.#of.get(socket)!.reading.refused ??= error.code ?? error.message
      socket.destroy()
    })
    this.#server.on('connect', (req: http.IncomingMessage) => {
      this.#of.get(req.socket)!.reading.refused ??= 'CONNECT'
    })
  }

  async read(streams: readonly string[]): Promise<Reading[]> {
    const sockets = streams.map((stream) => {
      const socket = new Duplex({
        read() {},
        write: (_chunk, _encoding, done) => done(),
      })
      socket.on('error', () => {})
      this.#of.set(socket, { reading: { requests: [], open: undefined, refused: undefined, last: undefined }, entries: [] })
      this.#server.emit('connection', socket)
      socket.push(Buffer.from(stream, 'latin1'))
      return socket
    })
    for (let turns = 0; turns < 3; turns++) await turn()
    for (const socket of sockets) if (!socket.destroyed) socket.push(null)
    for (let turns = 0; turns < 3; turns++) await turn()
    return sockets.map((socket) => {
      const { reading, entries } = this.#of.get(socket)!
      for (const { head, req, body } of entries) {
        if (req.complete) reading.requests.push(`${head} ${JSON.stringify(Buffer.concat(body).toString('latin1'))}`)
        else reading.open = head
      }
      this.#of.delete(socket)
      socket.destroy()
      return reading
    })
  }

  close(): void {
    this.#server.close()
  }
}

interface Seen {
  reading: Reading
  /** In the order of their heads; undefined: the body has not ended. */
  bodies: { head: string; body: Buffer | undefined }[]
  stream: string
  /** Where each frame ends. */
  ends: number[]
  done: () => void
}

/** The framer of this repository, and the HTTP package behind it. */
export class OwnReader {
  readonly #reactor = new Reactor()
  readonly #of = new Map<number, Seen>()
  #streams = 0
  #wholes = 0

  async listen(): Promise<this> {
    const streaming = httpApp({
      request: async (req, res) => {
        const entry: Seen['bodies'][number] = { head: `${req.method} ${req.url}`, body: req.body }
        const seen = this.#of.get(req.remotePort!)!
        seen.bodies.push(entry)
        if (((req as unknown as { info: number }).info & http1Info.close) !== 0) seen.reading.last = 'close'
        if (entry.body === undefined) entry.body = await req.bytes().catch(() => undefined)
        if (!res.ended) res.end()
      },
    })
    const { badFrame, close } = streaming
    // Asked for once, it is known when the connection has closed, too.
    const open = (conn: Connection<undefined>): undefined => void conn.remotePort
    streaming.open = open
    streaming.badFrame = (conn, failure) => {
      const { reading, bodies } = this.#of.get(conn.remotePort!)!
      // Bytes behind the last request are thrown away.
      if (!reading.last || bodies.at(-1)!.body === undefined) reading.refused ??= `${failure.code}`
      badFrame!(conn, failure)
    }
    streaming.close = (conn, reason) => {
      void close!(conn, reason)
      this.#of.get(conn.remotePort!)?.done()
    }
    const where = { port: 0, host: '127.0.0.1' }
    this.#streams = (await this.#reactor.listen(where, streaming)).port
    const whole = await this.#reactor.listen(where, {
      framing: http1({ body: 'whole' }),
      open,
      message: (conn, frame) => {
        const { ends, stream } = this.#of.get(conn.remotePort!)!
        let at = ends.at(-1) ?? 0
        // Empty lines before a request are no part of its frame.
        while (stream.startsWith('\r\n', at)) at += 2
        ends.push(at + frame.length)
      },
      close: (conn) => this.#of.get(conn.remotePort!)?.done(),
    })
    this.#wholes = whole.port
    return this
  }

  async read(streams: readonly string[]): Promise<Reading[]> {
    return Promise.all(streams.map(async (stream) => (await this.#readOne(stream, this.#streams)).reading))
  }

  /** The bytes behind so many requests. */
  async behind(stream: string, requests: number): Promise<string> {
    const { ends } = await this.#readOne(stream, this.#wholes)
    return stream.slice(requests === 0 ? 0 : ends[requests - 1])
  }

  async #readOne(stream: string, port: number): Promise<Seen> {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    socket.on('error', () => {}).resume()
    const over = once(socket, 'close')
    await once(socket, 'connect')
    const from = socket.localPort!
    const reading: Reading = { requests: [], open: undefined, refused: undefined, last: undefined }
    const seen: Seen = { reading, bodies: [], stream, ends: [], done: () => {} }
    const closed = new Promise<void>((resolve) => {
      seen.done = resolve
    })
    this.#of.set(from, seen)
    socket.end(Buffer.from(stream, 'latin1'))
    await Promise.all([closed, over])
    for (const { head, body } of seen.bodies) {
      if (body === undefined) reading.open = head
      else reading.requests.push(`${head} ${JSON.stringify(body.toString('latin1'))}`)
    }
    this.#of.delete(from)
    return seen
  }

  async close(): Promise<void> {
    await this.#reactor.close({ timeoutMs: 0 })
  }
}
