import { type Context, causedByPeer, contexts, currentContext, MultireactorError, runFresh } from '@multireactor/addon'
import { type BadFrame, type CloseReason, http1Info } from '@multireactor/reactor'
import { type ConnectionLink, type HeldReply, ignorable } from '@multireactor/reactor/parts'
import { type BodySource, StreamedBody } from './body.js'
import { mostDiscarded } from './discarded.js'
import { mayUpgrade, OtherUpgrade, type ProtocolUpgradeHook } from './other_upgrade.js'
import { overdue } from './overdue.js'
import { aborted, HttpRequest, peerEnded, type RequestOrigin } from './request.js'
import { type Bytes, HttpResponse, type ResponseTarget } from './response.js'
import { headOf, ResponseFields } from './response_head.js'
import { reasonOf } from './status.js'
import { isThenable } from './thenable.js'
import type { UnreadBodies } from './unread_bodies.js'
import type { WebSocketConnection } from './websocket_connection.js'
import { asksForWebSocket } from './websocket_handshake.js'
import type { WebSocketSettings } from './websocket_settings.js'
import { WebSocketUpgrade } from './websocket_upgrade.js'

export type RequestHandler = (req: HttpRequest, res: HttpResponse) => unknown

/** The app's settings for all of its connections. */
export interface HttpSettings {
  readonly handler: RequestHandler
  /** Answers for a handler that failed. */
  readonly onError: (error: unknown, req: HttpRequest, res: HttpResponse) => unknown
  readonly maxBodyBytes: number
  readonly requestTimeoutMs: number
  /** A FIN aborts the signals of the requests that are being answered. */
  readonly endAborts: boolean
  readonly webSockets: WebSocketSettings | undefined
  /** Decides about requests for other protocols. */
  readonly upgrades: ProtocolUpgradeHook | undefined
  /** Of a `fetch` handler. */
  readonly unread: UnreadBodies | undefined
}

const { close: closes, contentFollows, expects, content, lastContent, upgrade } = http1Info
const asciiText = { ascii: true }
const goOn = 'HTTP/1.1 100 Continue\r\n\r\n'

/** Why a connection is not read: each reason ends by itself. */
export const pauseFor = { body: 1, discarded: 2, unread: 4, upgrade: 8 } as const

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

/** Ends of a connection whose peer has left too much unread, or all of it for too long. */
const slownesses: ReadonlySet<CloseReason> = new Set(['slow-consumer', 'memory-limit', 'write-timeout'])

function tooSlow(reason: CloseReason): Error {
  const message = `drained(): the connection closed (${reason}) before the peer had taken its waiting bytes`
  return causedByPeer(new MultireactorError('ERR_MR_CONNECTION_CLOSED', message))
}

/** One request and its response. Answered within its hook, the response needs no place of its own in the order. */
export class ReactorExchange implements ResponseTarget, RequestOrigin, BodySource {
  readonly #http: HttpConnection
  readonly #info: number
  readonly request: HttpRequest
  readonly response: HttpResponse
  readonly body: StreamedBody | undefined
  /** When the whole request has to be there, in the ms of `performance.now`. */
  deadline = 0
  /** It runs, and its response has not begun; see `UnreadBodies`. */
  isUnread = false
  #reply: HeldReply | undefined
  #done = false
  #gone = false
  #continued = false
  #abort: AbortController | undefined
  #waiting: { resolve(): void; reject(error: Error): void }[] | undefined
  #waitingForEnd: ((halfClosed: boolean) => void)[] | undefined
  #onLeave: ((reason: Error) => void) | undefined
  /** The peer has left too much unread for too long. */
  #tooSlow: CloseReason | undefined

  constructor(http: HttpConnection, slab: Buffer, start: number, length: number, info: number) {
    this.#http = http
    this.#info = info
    this.body = (info & contentFollows) === 0 ? undefined : new StreamedBody(this, http.conn.allocate)
    this.request = new HttpRequest(this, slab, start, length, info, this.body)
    this.response = new HttpResponse(this, info)
  }

  /** Inside the message hook of the request. */
  handle(handler: RequestHandler): void {
    const { settings } = this.#http
    if (this.body) {
      this.#hold()
      this.deadline = settings.requestTimeoutMs
      overdue.add(this)
    }
    let result: unknown
    try {
      result = handler(this.request, this.response)
    } catch (error) {
      this.#failed(error)
    }
    if (!this.#done) this.#hold()
    if (isThenable(result)) result.then(undefined, (error: unknown) => this.#failed(error))
  }

  /** The request took too long to come. */
  expire(): void {
    this.#http.refuse(this, 408, 'it took longer than requestTimeoutMs')
  }

  #failed(error: unknown): void {
    // A peer that has left gets no error response, and the server reports none.
    if (this.#gone) return
    const { conn, settings } = this.#http
    conn.reportError(error, 'request')
    if (this.#done) return
    try {
      const answer = settings.onError(error, this.request, this.response)
      if (isThenable(answer)) {
        answer.then(
          () => this.response.abandon(500, false),
          (second: unknown) => this.#giveUp(second),
        )
        return
      }
    } catch (second) {
      return this.#giveUp(second)
    }
    this.response.abandon(500, false)
  }

  #giveUp(error: unknown): void {
    if (this.#gone) return
    this.#http.conn.reportError(error, 'error')
    this.response.abandon(500, false)
  }

  /** For a request that runs later: those behind it answer behind it. */
  keepPlace(): void {
    this.#hold()
  }

  #hold(): HeldReply {
    if (!this.#reply) {
      this.#reply = this.#http.conn.defer()
      this.#http.opened(this)
    }
    return this.#reply
  }

  // ---------------------------------------------------------------- the response

  whole(bytes: Bytes, close: boolean, ascii: boolean): void {
    if (this.#reply) return this.last(bytes, close)
    this.#settled()
    const { conn } = this.#http
    if (!close) return void (typeof bytes === 'string' ? conn.reply(bytes, ascii ? asciiText : undefined) : conn.write(bytes))
    this.#http.closing = true
    conn.end(bytes)
  }

  /** Sends bytes in place of the response, made outside of it. */
  replace(bytes: Bytes): void {
    this.whole(bytes, false, false)
    this.response.drop()
  }

  get isGone(): boolean {
    return this.#gone
  }

  part(bytes: Bytes): boolean {
    if (this.isUnread) this.#http.begun(this)
    return !this.#gone && this.#hold().write(bytes)
  }

  countLateCall(): void {
    this.#http.conn.countLateCall()
  }

  last(bytes: Bytes, close: boolean): void {
    this.#settled()
    const reply = this.#hold()
    this.#http.ended(this)
    if (this.#gone) return
    if (!close) return void reply.end(bytes)
    this.#http.closing = true
    reply.close(bytes)
  }

  destroy(looksWhole: boolean): void {
    this.#settled()
    const reply = this.#hold()
    this.#http.ended(this)
    if (this.#gone) return
    this.#http.closing = true
    reply.cut(looksWhole)
  }

  #settled(): void {
    if (this.isUnread) this.#http.begun(this)
    this.#done = true
    if (this.#waitingForEnd !== undefined) this.#tellHalfClosed(false)
  }

  mustClose(): boolean {
    // The rest of the body would have to be read first.
    return (this.#info & closes) !== 0 || (this.body !== undefined && !this.body.over) || this.#http.conn.draining
  }

  room(): Promise<void> {
    if (this.#tooSlow) return ignorable(Promise.reject(tooSlow(this.#tooSlow)))
    if (this.#gone) return Promise.resolve()
    return ignorable(
      new Promise<void>((resolve, reject) => {
        this.#waiting ??= []
        this.#waiting.push({ resolve, reject })
      }),
    )
  }

  wakeWriters(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    for (const { resolve, reject } of waiting ?? []) {
      if (this.#tooSlow) reject(tooSlow(this.#tooSlow))
      else resolve()
    }
  }

  onGone(reason: CloseReason): void {
    this.#gone = true
    if (slownesses.has(reason)) this.#tooSlow = reason
    overdue.delete(this)
    this.response.drop()
    this.body?.fail(aborted())
    this.#abort?.abort(aborted())
    this.#onLeave?.(aborted())
    this.#tellHalfClosed(false)
    this.wakeWriters()
  }

  onLeave(callback: ((reason: Error) => void) | undefined): void {
    this.#onLeave = callback
  }

  onHalfClosed(): void {
    if (this.#http.settings.endAborts) this.#abort?.abort(peerEnded())
    this.#tellHalfClosed(true)
  }

  #tellHalfClosed(halfClosed: boolean): void {
    const waiting = this.#waitingForEnd
    this.#waitingForEnd = undefined
    for (const resolve of waiting ?? []) resolve(halfClosed)
  }

  // ---------------------------------------------------------------- the request

  get remoteAddress(): string | undefined {
    return this.#http.conn.remoteAddress
  }
  get remotePort(): number | undefined {
    return this.#http.conn.remotePort
  }
  get connection(): bigint {
    return this.#http.conn.id
  }
  get encrypted(): boolean {
    return this.#http.conn.encrypted
  }

  allocate(bytes: number): Buffer {
    return this.#http.conn.allocate(bytes)
  }
  signalOf(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController()
      if (this.#gone) this.#abort.abort(aborted())
      else if (this.halfClosed && this.#http.settings.endAborts) this.#abort.abort(peerEnded())
    }
    return this.#abort.signal
  }
  get halfClosed(): boolean {
    return this.#http.halfClosed
  }
  whenHalfClosed(): Promise<boolean> {
    if (this.halfClosed || this.#done || this.#gone) return Promise.resolve(this.halfClosed)
    return new Promise((resolve) => {
      this.#waitingForEnd ??= []
      this.#waitingForEnd.push(resolve)
    })
  }

  run(bytes: string | Uint8Array): Promise<Buffer> {
    return this.#http.conn.run(bytes)
  }

  runTask<Result>(value: unknown): Promise<Result> {
    return this.#http.conn.runTask<Result>(value)
  }

  // ---------------------------------------------------------------- its body

  beginBody(): void {
    if ((this.#info & expects) === 0 || this.#continued || this.response.headersSent || this.#gone) return
    this.#continued = true
    this.#hold().write(goOn)
  }
  pauseBody(): void {
    if (!this.#gone) this.#http.pause(pauseFor.body)
  }
  resumeBody(): void {
    if (!this.#gone) this.#http.resume(pauseFor.body)
  }
}
