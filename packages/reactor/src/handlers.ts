import type { CloseReason } from '@multireactor/addon'
import type { Connection } from './connection.js'
import type { Framing } from './framing.js'

/**
 * The hooks of an app on a reactor. Every hook is optional, runs on the thread that owns the connection, and may be async; a throw
 * or a rejection is reported and closes its connection as `handler-error`, behind the replies to the frames before.
 */
export interface ConnectionHandlers<Data> {
  /**
   * A fresh connection. Its result becomes `conn.data`. An async `open` is awaited: until its promise has settled the connection is not
   * read, no `message` is called and `conn.data` is undefined. `close` may come before that (docs/ordering.md).
   */
  open?(conn: Connection<undefined>): Data | Promise<Data>
  /**
   * One frame. Its memory stays valid as long as it is referenced; `Buffer.from(frame)` for one that is kept long, since a small
   * frame keeps the slab it lies in (256 KiB) alive. `info` has the framing's facts about the frame: 0, but for `http1()`.
   */
  message?(conn: Connection<Data>, frame: Buffer, info: number): void | Promise<void>
  /** Called when the out buffer has drained to `outBuffer.low` after `write()` returned false. */
  drain?(conn: Connection<Data>): void | Promise<void>
  /** The peer has finished sending. Frames in flight are still answered, then the connection closes (`allowHalfOpen: true` keeps it). */
  end?(conn: Connection<Data>): void | Promise<void>
  /** Nothing was received or sent for the time of `conn.setTimeout`. Without this hook the connection closes as `timeout`. */
  timeout?(conn: Connection<Data>): void | Promise<void>
  /**
   * The peer broke the framing's rules, or was too slow with a frame. Comes behind the frames before; bytes written here are the
   * last thing the peer gets, in its place in the order, and then the connection closes as `failure.reason`.
   */
  badFrame?(conn: Connection<Data>, failure: BadFrame): void
  /** The connection is closed; nothing comes after it. */
  close?(conn: Connection<Data>, reason: CloseReason): void | Promise<void>
}

/** The fault of a frame. */
export interface BadFrame {
  /** The close reason that follows. */
  reason: 'malformed-frame' | 'frame-too-large' | 'frame-timeout'
  /**
   * In the protocol's own words, where its framing has some: an HTTP status, or the code that `protocolError` reads for `resp()`. Otherwise 0.
   */
  code: number
}

/** How an app's connections get from one thread to the next: a reload, a replacement, `moveTo`. */
export interface HandoverHandlers<Data> {
  /**
   * The connection leaves this thread. Its result arrives at `restore` as a structured clone; without this
   * hook `conn.data` travels itself.
   */
  suspend?(conn: Connection<Data>): unknown
  /**
   * The connection has come from another thread. `state` is the result of `suspend`, or the clone of `conn.data`; undefined when
   * there was none or the other thread died. Its result becomes `conn.data`; without a result `conn.data` is `state`.
   */
  restore?(conn: Connection<Data>, state: unknown): Data | void
}

/** Handlers of a client connection: the hooks, and the options beside them. All may be absent. */
export type ClientHandlers<Data> = ConnectionHandlers<Data> & ConnectionOptions

export const handoverHookNames = ['suspend', 'restore'] as const

export const hookNames = ['open', 'message', 'drain', 'end', 'timeout', 'badFrame', 'close'] as const

/** Options of a listener's connections. */
export interface ConnectionOptions {
  /** Default `raw()`. */
  framing?: Framing
  /** `'connection'` (default): replies leave in the order of the frames. `'none'`: as they are ready. */
  order?: 'connection' | 'none'
  /** TCP_NODELAY. Default true. */
  noDelay?: boolean
  /** TCP keep-alive (SO_KEEPALIVE) after so many milliseconds of silence, rounded up to seconds, at most 32,767,000; 0 (default) is off. */
  keepAliveMs?: number
  /** Keep our side open after the peer has finished sending. Default false. */
  allowHalfOpen?: boolean
  /** Water marks of the bytes that wait to be sent, held replies included. */
  outBuffer?: {
    /** Above this many bytes, `write()` returns false and the connection is not read. Default 65,536. */
    high?: number
    /** At or below this many bytes, the connection is read again, and `drain` is called if `write()` returned false. Default 16,384. */
    low?: number
    /**
     * Hard limit in bytes. A `write`, `defer`, `server.send` or publication that exceeds it, after one attempt to send, closes the connection as
     * `slow-consumer`. One message of any size passes while less than `high` waits. Default 16 MiB.
     */
    max?: number
  }
  /** Frames of one connection that may be in the pool or wait in order; reading stops there. Default 1024. */
  maxInFlight?: number
  /**
   * Bytes of frames of one connection that may be in the pool; reading stops there. Four frames pass, of any size.
   * Default 256 KiB.
   */
  maxInFlightBytes?: number
  /**
   * Promises of `message` hooks of one connection that may be pending at a time; reading stops there, and frames that were received
   * already wait in order. 1: the next hook is called when the promise of the last one has settled. Default 32, up to 1,048,576.
   */
  maxPendingMessages?: number
  /** Idle timeout in ms (600,000): no bytes in either direction and no frame in flight. Closes as `idle-timeout`. 0: never. */
  idleTimeoutMs?: number
  /**
   * Milliseconds until the first byte of the app's protocol: since the connection was accepted, or since the end of its PROXY header or
   * its TLS handshake, which have as long each. Closes as `first-byte-timeout`. Default 60,000; 0: never, for protocols in which the
   * server speaks first.
   */
  firstByteTimeoutMs?: number
  /** Time for one frame in ms (60,000), from its first byte to its last (slowloris). Closes as `frame-timeout`. 0: never. */
  frameTimeoutMs?: number
  /** Time in ms (60,000) in which the peer takes no byte of those that wait for it. Closes as `write-timeout`. 0: never. */
  writeTimeoutMs?: number
  /** Topics that one connection may have subscribed to. Default 1,024. */
  maxSubscriptions?: number
  /** Bytes of the names of those topics, in UTF-8. Default 128 KiB. */
  maxSubscriptionBytes?: number
}

export const connectionOptionNames = [
  'framing',
  'order',
  'noDelay',
  'keepAliveMs',
  'allowHalfOpen',
  'outBuffer',
  'maxInFlight',
  'maxInFlightBytes',
  'maxPendingMessages',
  'idleTimeoutMs',
  'firstByteTimeoutMs',
  'frameTimeoutMs',
  'writeTimeoutMs',
  'maxSubscriptions',
  'maxSubscriptionBytes',
] as const
