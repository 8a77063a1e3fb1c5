import { type Context, causedByPeer, contexts, currentContext, MultireactorError, runFresh } from '@multireactor/addon'
import { type BadFrame, type CloseReason, http1Info } from '@multireactor/reactor'
import type { ConnectionLink } from '@multireactor/reactor/parts'
import { mostDiscarded } from './discarded.js'
import type { HttpSettings } from './http_settings.js'
import { mayUpgrade, OtherUpgrade } from './other_upgrade.js'
import { overdue } from './overdue.js'
import { pauseFor } from './pause_reasons.js'
import { ReactorExchange } from './reactor_exchange.js'
import { headOf, ResponseFields } from './response_head.js'
import { reasonOf } from './status.js'
import type { WebSocketConnection } from './websocket_connection.js'
import { asksForWebSocket } from './websocket_handshake.js'
import { WebSocketUpgrade } from './websocket_upgrade.js'

const { close: closes, contentFollows, content, lastContent, upgrade } = http1Info

// biome-ignore lint/suspicious/noExplicitAny: the data of the connections belongs to the app
type AnyConnection = ConnectionLink<any>

/** HTTP on one connection, on the reactor that owns it: requests in, and responses at their places in the order. */
export class HttpConnection {
  readonly conn: AnyConnection
  readonly settings: HttpSettings
  /** The request whose body is arriving. */
  #receiving: ReactorExchange | undefined
  /** Those that are answered later. */
  readonly #open = new Set<ReactorExchange>()
  /** A request has said that none follows it. */
  closing = false
  /** The peer has finished sending. */
  halfClosed = false
  /** Set when the connection has become a WebSocket. */
  socket: WebSocketConnection | undefined
  /** Bytes that have come behind the last request. */
  #discarded = 0
  #onAlone: (() => void) | undefined
  /** Requests that run and whose responses have not begun, where the app's bodies are streams. */
  #unread = 0
  /** Those that wait until there is room for one more. Their connection is paused. */
  #waiting: ReactorExchange[] = []
  #pausedFor = 0
  /** That of the connection before the first upgrade hook ran: a store that the hook enters stays with the upgraded connection. */
  #before: Context | undefined

  constructor(conn: AnyConnection, settings: HttpSettings) {
    this.conn = conn
    this.settings = settings
  }

  onFrame(slab: Buffer, start: number, length: number, info: number): void {
    if (this.socket !== undefined) return this.socket.onFrame(slab, start, length, info)
    if ((info & content) !== 0) return this.#onPiece(slab.subarray(start, start + length), info)
    if (this.closing) return this.#discard(length)
    if ((info & closes) !== 0) this.closing = true
    const exchange = new ReactorExchange(this, slab, start, length, info)
    if ((info & contentFollows) !== 0) this.#receiving = exchange
    const { webSockets } = this.settings
    if ((info & upgrade) !== 0 && webSockets !== undefined && asksForWebSocket(exchange.request)) {
      this.#before ??= currentContext()
      return exchange.handle(() => new WebSocketUpgrade(this, webSockets, exchange).handle(length))
    }
    const { upgrades } = this.settings
    if ((info & upgrade) !== 0 && upgrades !== undefined && mayUpgrade(exchange.request.info, length)) {
      this.#before ??= currentContext()
      return exchange.handle(() => new OtherUpgrade(this, upgrades, exchange).handle())
    }
    if (this.#hasRoomFor(exchange)) this.#run(exchange)
  }

  /** The handler's turn, for a request that has turned out to be one like the others. Inside its hook, or later. */
  answer(exchange: ReactorExchange): unknown {
    return this.#hasRoomFor(exchange) ? this.settings.handler(exchange.request, exchange.response) : undefined
  }

  #run(exchange: ReactorExchange): void {
    const { handler } = this.settings
    // Each request has a context of its own, independent of the request before it.
    if (contexts.used) return runFresh(this.#before, exchange.handle, exchange, handler)
    const { mark } = contexts
    exchange.handle(handler)
    contexts.mark = mark
  }

  /** False: a pipelined request waits, and runs later, where the bodies of those before it lie in streams; see `UnreadBodies`. */
  #hasRoomFor(exchange: ReactorExchange): boolean {
    const { unread } = this.settings
    if (unread === undefined) return true
    if (this.#unread < unread.most && this.#waiting.length === 0) {
      this.#unread++
      exchange.isUnread = true
      return true
    }
    exchange.keepPlace()
    this.#waiting.push(exchange)
    this.pause(pauseFor.unread)
    return false
  }

  /** The response of a request has begun: the read part of its body is counted. */
  begun(exchange: ReactorExchange): void {
    exchange.isUnread = false
    this.#unread--
    // Not within the response of another request.
    if (this.#waiting.length > 0) queueMicrotask(() => this.#runWaiting())
  }

  #runWaiting(): void {
    const { unread } = this.settings
    while (this.#waiting.length > 0 && this.#unread < unread!.most) {
      const exchange = this.#waiting.shift()!
      // It has been refused meanwhile.
      if (exchange.response.headersSent) continue
      this.#unread++
      exchange.isUnread = true
      this.#run(exchange)
    }
    if (this.#waiting.length === 0) this.resume(pauseFor.unread)
  }

  pause(why: number): void {
    this.#pausedFor |= why
    this.conn.pause()
  }

  resume(why: number): void {
    if ((this.#pausedFor & why) === 0) return
    this.#pausedFor &= ~why
    if (this.#pausedFor === 0) this.conn.resume()
  }

  #onPiece(bytes: Buffer, info: number): void {
    const exchange = this.#receiving
    // The thread that knew the request is gone: the rest of its body is useless.
    if (!exchange) return this.closing ? this.#discard(bytes.length) : this.conn.destroy('thread-lost')
    const body = exchange.body!
    if (body.received + bytes.length > this.settings.maxBodyBytes) {
      return this.refuse(exchange, 413, 'the body is longer than maxBodyBytes')
    }
    body.push(bytes)
    if ((info & lastContent) === 0) return
    this.#receiving = undefined
    overdue.delete(exchange)
    body.end()
  }

  /** Behind the last request. It is read, so that a peer that leaves is noticed; but a peer that goes on is made to wait. */
  #discard(length: number): void {
    this.#discarded += length
    if (this.#discarded >= mostDiscarded) this.pause(pauseFor.discarded)
  }

  /** The rest of the request at hand is not read; its response says why, if it has not begun. */
  refuse(exchange: ReactorExchange, status: number, why: string): void {
    this.#giveUpBody(exchange, status, why)
    exchange.response.abandon(status, true)
  }

  #giveUpBody(exchange: ReactorExchange, status: number, why: string): void {
    this.#receiving = undefined
    this.closing = true
    overdue.delete(exchange)
    exchange.body?.fail(causedByPeer(new MultireactorError('ERR_MR_HTTP', `the request was given up with ${status}: ${why}`)))
  }

  /** Requests are being answered. */
  get hasOpen(): boolean {
    return this.#open.size > 0
  }

  /** Resolves when no other request is being answered, or the connection has closed. */
  untilAlone(exchange: ReactorExchange): Promise<void> {
    return new Promise((resolve) => {
      this.#onAlone = () => {
        if (this.#open.size > 1 || (this.#open.size === 1 && !this.#open.has(exchange))) return
        this.#onAlone = undefined
        resolve()
      }
      this.#onAlone()
    })
  }

  onBadFrame(failure: BadFrame): void {
    if (this.socket !== undefined) return this.socket.onBadFrame(failure)
    const { code, reason } = failure
    const status = code !== 0 ? code : reason === 'frame-timeout' ? 408 : 400
    const exchange = this.#receiving
    if (exchange) return this.refuse(exchange, status, reason)
    if (this.closing) return
    this.closing = true
    this.conn.write(refusal(status))
  }

  onEnd(): void {
    if (this.socket !== undefined) return
    this.halfClosed = true
    const exchange = this.#receiving
    if (exchange) {
      const why = 'the peer ended its side of the connection in the middle of the body'
      // RFC 9112, section 8: the request is incomplete, and its handler must not wait for the rest. A response that has begun goes on.
      if (exchange.response.headersSent) this.#giveUpBody(exchange, 400, why)
      else this.refuse(exchange, 400, why)
    }
    for (const each of this.#open) each.onHalfClosed()
  }

  onDrain(): void {
    this.socket?.onDrain()
    this.#wakeFirst()
  }

  /** What the others write waits for the first one: only it may go on, or the replies behind it would be unbounded. */
  #wakeFirst(): void {
    for (const exchange of this.#open) return exchange.wakeWriters()
  }

  onClose(reason: CloseReason): void {
    if (this.socket !== undefined) return this.socket.onGone(reason)
    this.closing = true
    this.#receiving = undefined
    this.#waiting = []
    for (const exchange of this.#open) exchange.onGone(reason)
    this.#open.clear()
    this.#onAlone?.()
  }

  /** Called while memory is short. */
  shrink(): void {
    for (const exchange of this.#open) exchange.request.shrink()
  }

  opened(exchange: ReactorExchange): void {
    this.#open.add(exchange)
  }

  ended(exchange: ReactorExchange): void {
    this.#open.delete(exchange)
    this.#wakeFirst()
    this.#onAlone?.()
    if (this.#receiving === exchange) this.#receiving = undefined
    overdue.delete(exchange)
  }
}

/** A response without a request: to bytes that are not a request. */
export function refusal(status: number): string {
  const text = `${reasonOf(status)}\n`
  return headOf(status, 0, plainText, text.length, true) + text
}

const plainText = new ResponseFields()
plainText.add('Content-Type', 'content-type', 'text/plain', false)
