import { causedByPeer, MultireactorError } from '@multireactor/addon'
import { type CloseReason, http1Info } from '@multireactor/reactor'
import { type HeldReply, ignorable } from '@multireactor/reactor/parts'
import { type BodySource, StreamedBody } from './body.js'
import type { HttpConnection } from './http_connection.js'
import type { RequestHandler } from './http_settings.js'
import { overdue } from './overdue.js'
import { pauseFor } from './pause_reasons.js'
import { aborted, HttpRequest, peerEnded, type RequestOrigin } from './request.js'
import { type Bytes, HttpResponse, type ResponseTarget } from './response.js'
import { isThenable } from './thenable.js'

const { close: closes, contentFollows, expects } = http1Info
const asciiText = { ascii: true }
const goOn = 'HTTP/1.1 100 Continue\r\n\r\n'

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
