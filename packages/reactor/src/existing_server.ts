import type { EventEmitter } from 'node:events'
import type net from 'node:net'
import type tls from 'node:tls'
import { MultireactorError, OptionReader, shown } from '@multireactor/addon'
import type { Connection } from './connection.js'
import type { ConnectionDuplex } from './duplex.js'
import type { ConnectionHandlers, ConnectionOptions } from './handlers.js'
import { withEngineSide } from './engine_side.js'
import type { ExistingServerSide, ServerPlace } from './stream.js'
import { clearInterval, setImmediate, setInterval } from './timers.js'

/** A server of Node's kind that has not listened: `net`, `http`, `https`, `tls`, or a framework's server of this kind. */
export type ExistingServer = EventEmitter & Pick<net.Server, 'listening' | 'close' | 'address'>

/** Options of `attach`. */
export interface AttachOptions {
  /**
   * The server's connections are to end, because the server closes or the thread has a successor: for work beside the usual, such
   * as saying goodbye to WebSockets. At a reload it is called once more near the end of the time, for connections that have come
   * meanwhile. Connections left when the time is over are closed.
   */
  drain?: (server: ExistingServer) => void
}

/** How often connections that have become idle are looked for while a server drains. */
const idleLookMs = 20
/** How long after its beginning a connection that has not asked for anything yet is then given for that. */
const firstRequestMs = 2_000

/** The parts of Node's servers that are not in their types, or not in all of them. */
interface Inside {
  _handle: unknown
  _connections: number
  _emitCloseIfDrained?(): void
  allowHalfOpen?: boolean
  keepAlive?: boolean
  /** In seconds, although the option is in milliseconds. */
  keepAliveInitialDelay?: number
  maxConnections?: number
  pauseOnConnect?: boolean
  highWaterMark?: number
  blockList?: net.BlockList
  _pipeName?: string
  closeIdleConnections?(): void
  closeAllConnections?(): void
}

interface Message {
  headersSent: boolean
  shouldKeepAlive: boolean
}

/**
 * Runs an existing server on connections of ours. The server believes that it listens: `listening`, `address()`, `close()`,
 * `getConnections()`, `maxConnections` and the time limits that Node starts with listening work as with a port of its own.
 */
export class ServerFace implements ExistingServerSide {
  readonly #server: ExistingServer & Inside
  readonly #options: AttachOptions
  readonly #isTls: boolean
  /** When each began, and the socket with TLS that the server has made of it. */
  readonly #streams = new Map<ConnectionDuplex, { began: number; socket: Wrapped | undefined }>()
  #place: ServerPlace | undefined
  #open = false
  #closes = false
  #looking: NodeJS.Timeout | undefined

  /** Marks the response to a further request as the connection's last. */
  readonly #sayLast = (_request: unknown, response: Message): void => {
    response.shouldKeepAlive = false
  }

  readonly #wrap = (socket: Wrapped): void => {
    const stream = socket._handle?._parentWrap?.stream
    const known = stream && this.#streams.get(stream)
    // One of another reactor that the server is attached to, or of its own port.
    if (!known) return
    known.socket = socket
    showPlaces(socket, stream)
    endLater(socket)
  }

  constructor(server: unknown, options: AttachOptions) {
    new OptionReader('attach()', options, ['drain']).func('drain')
    if (!isServer(server)) {
      throw new MultireactorError(
        'ERR_MR_OPTION_TYPE',
        `attach(): must be a server such as http.createServer() makes, and is ${shown(server)}`,
      )
    }
    if (server.listening) {
      throw new MultireactorError(
        'ERR_MR_STATE',
        'attach(): the server listens already: its connections come from a reactor, so do not call listen()',
      )
    }
    this.#server = server as ExistingServer & Inside
    this.#options = options
    this.#isTls = isTls(server)
    if (this.#isTls) this.#server.prependListener('secureConnection', this.#wrap)
  }

  listening(place: ServerPlace): void {
    this.#place ??= place
    if (this.#open) return
    this.#open = true
    // The fields of `net.Server` while it listens; its own methods do the rest.
    const { address, port } = this.#place!
    this.#server._handle = {
      close: () => {
        this.#open = false
      },
      // Of a Unix path `address()` is the path.
      ...(port === 0
        ? {}
        : { getsockname: (out: object) => Object.assign(out, { address, family: familyOf(address), port }) && 0 }),
      ref() {},
      unref() {},
    }
    if (port === 0) this.#server._pipeName = address
    // http starts to look at its time limits with this event, and never without it.
    this.#server.emit('listening')
  }

  accept(connection: Connection<unknown>): void {
    const server = this.#server
    if (!this.#open) return connection.destroy('server-closing')
    const { remoteAddress, remoteFamily } = connection
    if (server.blockList && remoteFamily && server.blockList.check(remoteAddress!, remoteFamily === 'IPv6' ? 'ipv6' : 'ipv4')) {
      return connection.destroy()
    }
    if (server.maxConnections !== undefined && server._connections >= server.maxConnections) {
      const { localAddress, localPort, remotePort } = connection
      connection.destroy()
      if (!remoteFamily) return void server.emit('drop')
      const localFamily = familyOf(localAddress!)
      return void server.emit('drop', { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily })
    }
    const { highWaterMark } = server
    const stream = connection.toDuplex({
      allowHalfOpen: server.allowHalfOpen ?? false,
      ...(Number.isInteger(highWaterMark) ? { highWaterMark: highWaterMark! } : {}),
    })
    stream.server = server
    if (server.keepAlive) stream.setKeepAlive(true, (server.keepAliveInitialDelay ?? 0) * 1000)
    if (server.pauseOnConnect) stream.pause()
    this.#streams.set(stream, { began: performance.now(), socket: undefined })
    server._connections++
    stream.once('close', () => {
      this.#streams.delete(stream)
      server._connections--
      server._emitCloseIfDrained?.()
    })
    server.emit('connection', stream)
    // A TLSSocket has been made, and has copied this. It ends the stream below itself, behind its goodbye: a stream that ended at the
    // peer's FIN would cut the server's last bytes.
    if (this.#isTls) stream.allowHalfOpen = true
  }

  closing(idleStay: boolean): void {
    const server = this.#server
    if (!this.#closes) {
      this.#closes = true
      server.prependListener('request', this.#sayLast)
      for (const [stream, { socket }] of this.#streams) {
        const { _httpMessage: message } = (socket ?? stream) as { _httpMessage?: Message }
        if (message && !message.headersSent) message.shouldKeepAlive = false
      }
      this.#options.drain?.(server)
    }
    if (!idleStay) this.#endIdle()
  }

  endIdle(): void {
    // For those that have come meanwhile.
    this.#options.drain?.(this.#server)
    this.#endIdle()
  }

  #endIdle(): void {
    if (!this.#server.closeIdleConnections || this.#looking) return
    this.#closeIdle()
    this.#looking = setInterval(() => this.#closeIdle(), idleLookMs).unref()
  }

  #closeIdle(): void {
    const latest = performance.now() - firstRequestMs
    let waits = false
    for (const [stream, { began }] of this.#streams) {
      // Not bytesRead, which counts the handshake of a listener with TLS.
      if (stream.readableDidRead) continue
      if (began <= latest) stream.destroy()
      else waits = true
    }
    // From Node 26 on, those that have not asked for anything yet count as idle, too: while there are any, none is closed as such.
    if (!waits && this.#streams.size > 0) this.#server.closeIdleConnections!()
  }

  closed(): void {
    clearInterval(this.#looking)
    const server = this.#server
    if (this.#open) server.close()
    // The server may be attached once more, and has connections of its own then.
    server.off('request', this.#sayLast)
    server.off('secureConnection', this.#wrap)
    for (const stream of this.#streams.keys()) stream.destroy()
  }
}

/**
 * The hooks that give every connection of a listener to a server that was made for Node's own sockets:
 *
 * ```ts
 * await reactor.listen({ port: 7000 }, attach(http.createServer(handler)))
 * ```
 *
 * The server must not listen itself. Its own time limits hold; ours for idle connections is off. In an app module for `serve()`, use
 * `attach` of `@multireactor/core`, which makes one server for each reactor.
 */
export function attach(server: ExistingServer, options: AttachOptions = {}): AttachHandlers {
  const face = new ServerFace(server, options)
  return withEngineSide(
    hooksFor(() => face),
    { existingServer: face },
  )
}

/** Handlers for `reactor.listen`; opaque otherwise. */
export interface AttachHandlers extends ConnectionHandlers<undefined>, ConnectionOptions {}

/** The hooks alone; `face` may be made later. */
export function hooksFor(face: () => ServerFace): ConnectionHandlers<undefined> & ConnectionOptions {
  return {
    idleTimeoutMs: 0,
    open(connection) {
      face().accept(connection)
      return undefined
    },
    // The streams have the bytes; an app needs something that answers.
    message() {},
  }
}

function familyOf(address: string): 'IPv4' | 'IPv6' {
  return address.includes(':') ? 'IPv6' : 'IPv4'
}

function isServer(value: unknown): value is ExistingServer {
  return (
    typeof value === 'object' &&
    value !== null &&
    ['emit', 'close', 'address'].every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
  )
}

function isTls(server: ExistingServer): boolean {
  return typeof (server as Partial<tls.Server>).setSecureContext === 'function'
}

type Wrapped = tls.TLSSocket & { _handle?: { _parentWrap?: { stream?: ConnectionDuplex } } }

/**
 * The peer's goodbye may lie in one piece with its last request. From a socket of Node's they come out in two calls, with a round of ticks
 * between them; from a stream they come in one, and an http server that sees the end first gives up the request.
 */
function endLater(socket: Wrapped): void {
  const { push } = socket
  socket.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (chunk !== null) return push.call(socket, chunk, encoding)
    setImmediate(() => {
      push.call(socket, null)
      socket.read(0)
    })
    return false
  }
}

/** `node:tls` sees neither the addresses nor the options of a stream that is no socket of Node's. */
function showPlaces(socket: Wrapped, stream: ConnectionDuplex): void {
  for (const name of ['remoteAddress', 'remotePort', 'remoteFamily', 'localAddress', 'localPort', 'localFamily'] as const) {
    Object.defineProperty(socket, name, { configurable: true, get: () => stream[name] })
  }
  socket.address = () => stream.address()
  for (const name of ['setNoDelay', 'setKeepAlive'] as const) {
    socket[name] = (...args: unknown[]) => {
      ;(stream[name] as (...args: unknown[]) => unknown)(...args)
      return socket
    }
  }
}
