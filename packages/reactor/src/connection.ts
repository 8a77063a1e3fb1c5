import type { TLSSocket } from 'node:tls'
import type { CloseReason } from '@multireactor/addon'
import type { ConnectionDuplex, DuplexOptions } from './duplex.js'
import type { Framing } from './framing.js'
import type { ReactorHandle } from './handle.js'
import type { SubscribeOptions } from './topics.js'

/** The part of a `tls.TLSSocket` that describes the peer and the handshake; see `node:tls` for its members. */
export type TlsInfo = Pick<
  TLSSocket,
  | 'alpnProtocol'
  | 'authorized'
  | 'authorizationError'
  | 'getCipher'
  | 'getPeerCertificate'
  | 'getPeerX509Certificate'
  | 'getProtocol'
  | 'getSession'
  | 'isSessionReused'
> & { readonly servername: string | false | null }

/**
 * A reply whose place in the order is held open: made by `conn.defer()`. Parts leave as soon as everything before them has left. Belongs to
 * the thread of its connection.
 */
export abstract class DeferredReply {
  /**
   * Sends one part of the reply. Returns false when the connection is above `outBuffer.high` (wait for the `drain` hook) or has closed.
   * Throws `ERR_MR_DATA`, and `ERR_MR_CONNECTION_CLOSED` after `end()` or `close()` of this reply while the connection is open.
   */
  abstract write(part: string | Uint8Array): boolean

  /**
   * Sends the last part, by default none, and lets the replies behind it go on. A second call without data does nothing. Returns false when
   * the connection has closed. Throws like `write`.
   */
  abstract end(part?: string | Uint8Array): boolean

  /** Sends the last part of the last reply: the connection ends behind it with FIN. Returns and throws like `end`. */
  abstract close(part?: string | Uint8Array): boolean
}

/**
 * One connection, as the thread of its reactor sees it; names and meanings follow `net.Socket`. It is made by its reactor and cannot be sent to
 * another thread: send `id`, and call `server.send(id, bytes)` there. A call on a closed connection does not throw: it returns false or does
 * nothing, and counts as `callsAfterClose` (docs/errors.md). An argument of a wrong type always throws.
 */
export abstract class Connection<Data = unknown> {
  /** The value that the `open` hook returned or resolved to, or the last one assigned. A reload and `moveTo` clone it, or call `suspend`. */
  abstract get data(): Data
  abstract set data(value: Data)

  /** The connection's number, unique over the life of the server, `moveTo` and reloads included. Opaque; may be sent to other threads. */
  abstract get id(): bigint

  /** The reactor that owns the connection: opens client connections on the same thread. */
  abstract get reactor(): ReactorHandle

  /** The name of the listener that accepted it; for a client connection, the address it was connected to. */
  abstract get listener(): string

  /**
   * Sends bytes, which are copied before the call returns. In a `message` hook and before its first `await` they take the frame's place in the
   * order; at any other time they go between two replies. Returns false when more than `outBuffer.high` waits (wait for the `drain` hook) or
   * the connection has closed. Throws `ERR_MR_DATA`, and `ERR_MR_CONNECTION_CLOSED` between `end()` and the close.
   */
  abstract write(data: string | Uint8Array): boolean

  /**
   * Sends text at the frame's place in the order, like `write` in a `message` hook, but skips the high-water-mark check: cheaper for many small
   * replies. `ascii` (false): the text has no character above U+007F. Returns false when the connection has closed. Outside of a `message`
   * hook it is `write`. Throws like `write`.
   */
  abstract reply(text: string, options?: { ascii?: boolean }): boolean

  /**
   * Sends `data`, if given, then everything that waits or is in flight, then FIN. No further frame is delivered. A second call does nothing;
   * with data it throws `ERR_MR_CONNECTION_CLOSED` while the connection is open. Throws `ERR_MR_DATA`.
   */
  abstract end(data?: string | Uint8Array): void

  /**
   * Closes the connection now, after one attempt to send the buffered bytes. Unsent bytes and replies that are still owed are dropped; `end()`
   * waits for them. The `close` hook is called with `reason` ('destroyed'). Throws `ERR_MR_OPTION_RANGE` for an unknown reason.
   */
  abstract destroy(reason?: CloseReason): void

  /** Stops reading. Frames behind the current one wait, and TCP makes the peer wait. */
  abstract pause(): void

  /** Resumes reading after `pause()`. */
  abstract resume(): void

  /**
   * Calls the `timeout` hook after so many milliseconds without a byte in either direction, or closes as `timeout` without such a hook.
   * `milliseconds`: 0 (off) to 2,147,483,647; accurate to 16 ms up to 4 s and to 1 s above. Throws `ERR_MR_OPTION_TYPE` and
   * `ERR_MR_OPTION_RANGE`.
   */
  abstract setTimeout(milliseconds: number): this

  /** Switches Nagle's algorithm off (`on`, default true) or on: `TCP_NODELAY`. Throws `ERR_MR_OPTION_TYPE`. */
  abstract setNoDelay(on?: boolean): this

  /**
   * Switches TCP keep-alive probes on or off (`on`, default false). `initialDelayMs` (0): silence before the first probe, rounded up to
   * seconds; 0 leaves the system's value. Throws `ERR_MR_OPTION_TYPE` and `ERR_MR_OPTION_RANGE`.
   */
  abstract setKeepAlive(on?: boolean, initialDelayMs?: number): this

  /**
   * Cuts everything behind the current frame by another framing: for protocol upgrades and STARTTLS. Throws `ERR_MR_OPTION_TYPE`,
   * `ERR_MR_LIMIT` (65,000 different framings on one reactor), and `ERR_MR_CONNECTION_CLOSED` between `end()` and the close.
   */
  abstract setFraming(framing: Framing): void

  /**
   * Turns the connection into a `stream.Duplex` that behaves like a `net.Socket`. From then on the stream owns the bytes behind the current
   * frame, and `close` is the only hook that is still called. The connection stays on this thread: a reload waits for it
   * (docs/existing-servers.md). Returns a destroyed stream when the connection has closed or is being ended. Throws `ERR_MR_STATE` when it
   * has a stream already, is piped or was told to move.
   */
  abstract toDuplex(options?: DuplexOptions): ConnectionDuplex

  /**
   * Hands a frame to `parse` in the pool; the reply leaves at this frame's place in the order. The bytes are copied before the call returns.
   * Throws `ERR_MR_DATA`, `ERR_MR_NO_POOL` (no pool, or the app has no `parse`), and `ERR_MR_CONNECTION_CLOSED` between `end()` and the close.
   */
  abstract submit(frame: string | Uint8Array): void

  /**
   * Runs `parse` in the pool and resolves to the bytes it returned, parts joined. Takes no place in the order: write the result, or use
   * `defer()`. Rejects with the error of `parse`, `ERR_MR_QUEUE_FULL`, `ERR_MR_TASK_TIMEOUT`, `ERR_MR_TASK_LOST` or
   * `ERR_MR_CONNECTION_CLOSED`. Throws `ERR_MR_DATA`, `ERR_MR_NO_POOL` and `ERR_MR_STATE` for mistakes of the caller.
   */
  abstract run(frame: string | Uint8Array): Promise<Buffer>

  /**
   * Runs the app's `task` in the pool on a copy of `value`, and resolves to a copy of its result. Values are copied by `v8.serialize`: like
   * `structuredClone` takes, without transferables. Their serialized bytes count like those of frames. Takes no place in the order. Rejects
   * and throws like `run`; `ERR_MR_DATA` for a value that cannot be copied.
   */
  abstract runTask<Result = unknown>(value: unknown): Promise<Result>

  /**
   * Holds this frame's place in the order open for a handler that answers later. On a closed connection it returns a reply whose methods return
   * false. Throws `ERR_MR_CONNECTION_CLOSED` between `end()` and the close.
   */
  abstract defer(): DeferredReply

  /**
   * Moves the connection to another reactor of the server, with its unread bytes, unsent bytes and timers, once no frame is in flight and no
   * hook of it is pending. Its data goes the way of a reload: `suspend` here, `restore` there. Reading stops at once, and this object is
   * closed after the move. `reactor`: the number of a running reactor. Throws `ERR_MR_OPTION_RANGE`, `ERR_MR_STATE` (TLS, piped, a client
   * connection, or a custom framing of `setFraming`), and `ERR_MR_CONNECTION_CLOSED` between `end()` and the close.
   */
  abstract moveTo(reactor: number): void

  /**
   * True when the connection is to close as soon as its frames in flight have been answered: its reactor is closing; or it has TLS, and its
   * thread is about to be replaced.
   */
  abstract get draining(): boolean

  /** Reports an error as if the hook `hook` ('message') had thrown it, and leaves the connection open. */
  abstract reportError(error: unknown, hook?: string): void

  /**
   * Subscribes to later publications of any thread to `topic`; they go between two replies. A reload, the death of the thread and
   * `moveTo` keep the subscription. Returns false when it was subscribed already (the options are replaced) or the connection has closed.
   * Throws `ERR_MR_TOPIC`, `ERR_MR_TOO_MANY_SUBSCRIPTIONS`, and `ERR_MR_CONNECTION_CLOSED` between `end()` and the close.
   */
  abstract subscribe(topic: string, options?: SubscribeOptions): boolean

  /**
   * Ends a subscription; earlier publications may still arrive. Returns false when there was none, or the connection has closed. Throws
   * `ERR_MR_TOPIC`.
   */
  abstract unsubscribe(topic: string): boolean

  /**
   * Sends bytes to every connection of the server that is subscribed to `topic`, like `server.publish`. The bytes are copied once, before the
   * call returns. Returns false when 64 MiB of publications wait to be delivered, or this connection has closed. Throws `ERR_MR_TOPIC`,
   * `ERR_MR_DATA`, and `ERR_MR_CONNECTION_CLOSED` between `end()` and the close.
   */
  abstract publish(topic: string, data: string | Uint8Array): boolean

  /** The topics that the connection is subscribed to, in no order; empty when it has closed. */
  abstract get subscriptions(): string[]

  /**
   * Passes the bytes of each connection to the other from now on, in both directions, with backpressure, half-close and resets; `message`, `end`
   * and `drain` are not called any more. The current frame and those before it stay with the hooks. When one closes, the other closes for the
   * same reason. Returns false, and pipes neither, when one has closed or is being ended. Throws `ERR_MR_STATE` when one of them has frames
   * in flight, was told to move or is piped, `ERR_MR_WRONG_THREAD` when they belong to different reactors, and `ERR_MR_CONNECTION_CLOSED`
   * between `end()` of one of them and its close.
   */
  abstract pipe(other: Connection<unknown>): boolean

  /** True when a listener with `tls` accepted the connection. */
  abstract get encrypted(): boolean

  /** The handshake and the peer as `node:tls` describes them, without reading and writing; undefined without TLS. */
  abstract get tls(): TlsInfo | undefined

  /** The peer's literal address, from the PROXY header where the listener takes one; undefined for a Unix peer. */
  abstract get remoteAddress(): string | undefined

  /** The peer's port, 1 to 65,535; undefined for a Unix peer. */
  abstract get remotePort(): number | undefined

  /** The family of `remoteAddress`; undefined for a Unix peer. */
  abstract get remoteFamily(): 'IPv4' | 'IPv6' | undefined

  /** The literal address on this side, or the Unix path; undefined when the connection has closed. */
  abstract get localAddress(): string | undefined

  /** The port on this side, 0 for a Unix path; undefined when the connection has closed. */
  abstract get localPort(): number | undefined

  /** Bytes received so far, before decryption; stays readable after the close. */
  abstract get bytesRead(): number

  /** Bytes that the socket has taken so far; stays readable after the close. */
  abstract get bytesWritten(): number

  /** Bytes that wait to be sent, replies that wait for their order included; 0 when the connection has closed. */
  abstract get writableLength(): number

  /** Frames that were handed to the pool and have not settled, and places that `defer()` holds; 0 when the connection has closed. */
  abstract get inFlight(): number

  /** True when the connection has closed, or will because of `destroy()` or a failed hook. */
  abstract get destroyed(): boolean

  /** True until the connection has closed, or `end()`, `destroy()` or a failed hook has ended it. */
  abstract get isOpen(): boolean
}
