import { Buffer } from 'node:buffer'
import { MultireactorError } from '@multireactor/addon'
import type { SubscribeOptions } from '@multireactor/reactor'
import { checkTopic } from '@multireactor/reactor/parts'
import { checkClose, closeCode } from './websocket_close.js'
import type { WebSocketConnection } from './websocket_connection.js'
import { checkMessage, opcode } from './websocket_frames.js'

const mostControlBytes = 125

/** One WebSocket, as the reactor that owns it sees it. Belongs to its reactor's thread: send `id` to others. */
export class ServerWebSocket<Data = unknown> {
  readonly #socket: WebSocketConnection
  /** The subprotocol that was agreed on; without one the empty string, as in browsers. */
  readonly protocol: string

  /** @internal Made by the `upgrade` of its app. */
  constructor(socket: WebSocketConnection, protocol: string) {
    this.#socket = socket
    this.protocol = protocol
  }

  /** The data from `upgrade`, or the value assigned since. It goes along to another thread as a structured clone. */
  get data(): Data {
    return this.#socket.conn.data as Data
  }
  set data(value: Data) {
    this.#socket.conn.data = value
  }

  /** Opaque, unique over the life of the server: for `server.send(id, webSocketMessage(data))` from any thread. */
  get id(): bigint {
    return this.#socket.conn.id
  }
  /** The peer's literal address; undefined for a Unix peer. */
  get remoteAddress(): string | undefined {
    return this.#socket.conn.remoteAddress
  }
  /** The peer's port; undefined for a Unix peer. */
  get remotePort(): number | undefined {
    return this.#socket.conn.remotePort
  }
  /** Whether it came by a listener with `tls`. */
  get encrypted(): boolean {
    return this.#socket.conn.encrypted
  }

  /** `'closing'`: a Close frame has been sent or received. */
  get readyState(): 'open' | 'closing' | 'closed' {
    return this.#socket.state
  }

  /** Bytes that wait to be sent. */
  get bufferedAmount(): number {
    return this.#socket.bufferedAmount
  }

  /**
   * Sends a message: a string as text, bytes as they are, copied before the call returns. False: the peer is slow, wait for
   * `drain`; or the WebSocket has closed, or the peer or the server closes it just now. Throws `ERR_MR_DATA`, and
   * `ERR_MR_CONNECTION_CLOSED` between your own `close()` and the `close` hook.
   */
  send(data: string | Uint8Array): boolean {
    checkMessage('send()', data)
    return this.#speaks('send()') && this.#socket.send(data)
  }

  /** Sends a Ping with at most 125 bytes; the answer calls `pong`. Throws as `send` does. */
  ping(data: string | Uint8Array = ''): boolean {
    checkMessage('ping()', data)
    const bytes = Buffer.byteLength(data)
    if (bytes > mostControlBytes) {
      throw new MultireactorError(
        'ERR_MR_OPTION_RANGE',
        `ping(): a Ping may have ${mostControlBytes} bytes, and this has ${bytes}`,
      )
    }
    return this.#speaks('ping()') && this.#socket.sendControl(opcode.ping, data)
  }

  /**
   * Sends a Close frame behind earlier messages, and closes the connection when the peer has answered, or has not within
   * `closeTimeoutMs`. Messages that still come are not delivered. Throws for a code that may not be sent, and a reason above 123 bytes.
   */
  close(code: number = closeCode.normal, reason = ''): void {
    checkClose(code, reason)
    this.#socket.close(code, reason)
  }

  /** Closes the connection now, without a Close frame. Unsent messages are lost. */
  terminate(): void {
    this.#socket.terminate()
  }

  /** Stops reading: TCP makes the peer wait. A silent peer is not taken for dead meanwhile. */
  pause(): void {
    this.#socket.pause(true)
  }
  /** Resumes reading after `pause()`. */
  resume(): void {
    this.#socket.pause(false)
  }

  /** Gets the messages that are published to `topic` from now on, on any reactor; see `conn.subscribe`. */
  subscribe(topic: string, options?: SubscribeOptions): boolean {
    checkTopic('subscribe()', topic)
    return this.#speaks('subscribe()') && this.#socket.conn.subscribe(topic, options)
  }

  /** Ends a subscription. Returns false when there was none, or the socket has closed. Throws `ERR_MR_TOPIC`. */
  unsubscribe(topic: string): boolean {
    return this.#socket.conn.unsubscribe(topic)
  }

  /** The topics that it has subscribed to, in no order. */
  get subscriptions(): string[] {
    return this.#socket.conn.subscriptions
  }

  /**
   * Sends a message to every WebSocket of the server that has subscribed to `topic`, this one too if it has: encoded once, one copy for
   * all. False: refused, since 64 MiB of publications wait to be delivered. From elsewhere: `server.publish(topic,
   * webSocketMessage(data))`.
   */
  publish(topic: string, data: string | Uint8Array): boolean {
    checkTopic('publish()', topic)
    checkMessage('publish()', data)
    return this.#speaks('publish()') && this.#socket.publish(topic, data)
  }

  /** Runs the app's `parse` in the pool on these bytes, and resolves to its result. */
  run(bytes: string | Uint8Array): Promise<Buffer> {
    return this.#socket.conn.run(bytes)
  }

  /**
   * Runs the app's `task` in the pool on a copy of `value`, as `v8.serialize` takes it, and resolves to a copy of its result. See
   * `Connection.runTask`.
   */
  runTask<Result = unknown>(value: unknown): Promise<Result> {
    return this.#socket.conn.runTask<Result>(value)
  }

  /** False, and counted, when it has closed or closes, but for the app's own `close()`: that it knows of. */
  #speaks(call: string): boolean {
    const { state, saidGoodbye, conn } = this.#socket
    if (state === 'open') return true
    if (!saidGoodbye || state === 'closed' || conn.destroyed) {
      conn.countLateCall()
      return false
    }
    throw new MultireactorError('ERR_MR_CONNECTION_CLOSED', `${call}: close() was called, and nothing can follow it`)
  }
}
