import { MultireactorError, OptionReader, shown } from '@multireactor/addon'
import { type DeflateOptions, type ReadDeflateOptions, readDeflateOptions } from './deflate_options.js'
import type { HttpRequest } from './request.js'
import type { ServerWebSocket } from './server_websocket.js'
import type { WebSocketRefusal } from './websocket_handshake.js'

/** How an upgrade is accepted. */
export interface WebSocketAccept<Data> {
  /** Becomes `ws.data`. */
  data?: Data
  /** One of the subprotocols that the peer offers; in place of `protocols`. */
  protocol?: string
  /** Fields of the response, beside those of the handshake. */
  headers?: Record<string, string>
}

/** Nothing or true: accepted. False: refused with 403. */
export type UpgradeAnswer<Data> = undefined | void | boolean | WebSocketAccept<Data> | WebSocketRefusal

/** The app's hooks and limits for WebSockets, on the reactor that owns them. Hooks may be async; a failed one closes with 1011. */
export interface WebSocketOptions<Data = unknown> {
  /**
   * Decides about a handshake that is in order: by the path, the `Origin`, a cookie. Without it all are accepted, from pages of
   * any origin. The peer waits, and nothing behind the request is read, until a promise settles.
   */
  upgrade?(req: HttpRequest): UpgradeAnswer<Data> | Promise<UpgradeAnswer<Data>>
  /**
   * A WebSocket is open. Messages sent here come right behind the handshake. An async one is awaited: `message` is not called, and the
   * connection is not read, until its promise has settled.
   */
  open?(ws: ServerWebSocket<Data>): unknown
  /**
   * One whole message: a string when it is text, otherwise a Buffer, whose memory stays valid as long as it is referenced; copy messages that
   * are kept long, since a small one keeps the slab it lies in (256 KiB) alive.
   */
  message(ws: ServerWebSocket<Data>, data: string | Buffer, isBinary: boolean): unknown
  /** There is room again after `send` has said false. */
  drain?(ws: ServerWebSocket<Data>): unknown
  /** A Pong has come. */
  pong?(ws: ServerWebSocket<Data>, data: Buffer): unknown
  /** It is closed: with the peer's code, with ours when it came first, 1005 without one, 1006 without a Close frame. */
  close?(ws: ServerWebSocket<Data>, code: number, reason: string): unknown
  /** The WebSocket leaves this thread; see `suspend` of an app. Without it `ws.data` travels itself. */
  suspend?(ws: ServerWebSocket<Data>): unknown
  /** It has come from another thread; see `restore` of an app. Without it a WebSocket that has lost its data closes with 1012. */
  restore?(ws: ServerWebSocket<Data>, state: unknown): Data | void
  /** Subprotocols that the app speaks. The peer gets the first of its own that is among them. */
  protocols?: readonly string[]
  /** A whole message, of however many frames. Default 1 MiB; a longer one closes with 1009 before it is read. */
  maxMessageBytes?: number
  /**
   * Promises of `message` and `pong` hooks of one WebSocket that may be pending at a time; reading stops there. 1: the next hook is
   * called when the promise of the last one has settled. Default 32, up to 1,048,576.
   */
  maxPendingMessages?: number
  /** The time for one frame, from its first byte. Default 60,000; 0: for ever. */
  frameTimeoutMs?: number
  /** A peer that has been silent so long is sent a Ping. Default 30,000; 0: never. */
  pingIntervalMs?: number
  /** The time for the answer to it, or any other sign of life; then the connection is closed as `timeout`. Default 10,000. */
  pongTimeoutMs?: number
  /** The time for the peer's Close frame after `ws.close()`. Default 10,000. */
  closeTimeoutMs?: number
  /**
   * Compresses messages for clients that offer permessage-deflate (RFC 7692). True: with the defaults of `DeflateOptions`. Default false.
   */
  deflate?: boolean | DeflateOptions
  /**
   * The effect of `ws.send` while `outBuffer.high` bytes or more wait for the peer. `'close'` (default): the message waits, too, and at
   * `outBuffer.max` the connection closes as `slow-consumer`. `'drop'`: the message is not sent, and counted as `messagesDropped`.
   */
  slow?: 'close' | 'drop'
}

const names = [
  'upgrade',
  'open',
  'message',
  'drain',
  'pong',
  'close',
  'suspend',
  'restore',
  'protocols',
  'maxMessageBytes',
  'maxPendingMessages',
  'frameTimeoutMs',
  'pingIntervalMs',
  'pongTimeoutMs',
  'closeTimeoutMs',
  'deflate',
  'slow',
] as const

const hooks = ['upgrade', 'open', 'drain', 'pong', 'close', 'suspend', 'restore'] as const
const mostMs = 0x7fff_ffff
const where = 'websocket of httpApp()'

export interface ReadWebSocketOptions {
  own: WebSocketOptions
  protocols: readonly string[]
  maxMessageBytes: number
  maxPendingMessages: number
  frameTimeoutMs: number
  pingIntervalMs: number
  pongTimeoutMs: number
  closeTimeoutMs: number
  deflate: ReadDeflateOptions | undefined
  slow: 'close' | 'drop'
}

/** The options, checked, with their defaults. */
export function readWebSocketOptions(options: unknown): ReadWebSocketOptions {
  const read = new OptionReader(where, options, names)
  for (const name of hooks) read.func(name)
  if (!read.func('message')) throw new MultireactorError('ERR_MR_OPTION_TYPE', `${where}: needs a message hook`)
  const protocols = read.raw('protocols') ?? []
  if (!Array.isArray(protocols) || !protocols.every((each) => typeof each === 'string')) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where}: 'protocols' must be a list of strings, and is ${shown(protocols)}`,
    )
  }
  return {
    own: options as WebSocketOptions,
    protocols: protocols as string[],
    maxMessageBytes: read.integer('maxMessageBytes', 1 << 20, 1, 512 << 20),
    maxPendingMessages: read.integer('maxPendingMessages', 32, 1, 1 << 20),
    frameTimeoutMs: read.integer('frameTimeoutMs', 60_000, 0, mostMs),
    pingIntervalMs: read.integer('pingIntervalMs', 30_000, 0, mostMs),
    pongTimeoutMs: read.integer('pongTimeoutMs', 10_000, 1, mostMs),
    closeTimeoutMs: read.integer('closeTimeoutMs', 10_000, 1, mostMs),
    deflate: readDeflateOptions(`${where}.deflate`, read.raw('deflate')),
    slow: read.oneOf('slow', 'close', ['close', 'drop']),
  }
}
