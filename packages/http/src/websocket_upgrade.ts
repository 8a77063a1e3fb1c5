import { MultireactorError, shown } from '@multireactor/addon'
import type { HttpConnection } from './http_connection.js'
import { pauseFor } from './pause_reasons.js'
import type { ReactorExchange } from './reactor_exchange.js'
import { isThenable } from './thenable.js'
import { WebSocketConnection } from './websocket_connection.js'
import { acceptance, type Handshake, readHandshake, type WebSocketRefusal } from './websocket_handshake.js'
import type { UpgradeAnswer, WebSocketAccept } from './websocket_options.js'
import type { WebSocketSettings } from './websocket_settings.js'

/** One request for a WebSocket, on its way to being one. Nothing behind it is read before it is decided. */
export class WebSocketUpgrade {
  readonly #http: HttpConnection
  readonly #settings: WebSocketSettings
  readonly #exchange: ReactorExchange

  constructor(http: HttpConnection, settings: WebSocketSettings, exchange: ReactorExchange) {
    this.#http = http
    this.#settings = settings
    this.#exchange = exchange
  }

  /** Inside the message hook of the request, as its handler. `length`: of its frame. */
  handle(length: number): void | Promise<void> {
    const handshake = readHandshake(this.#exchange.request, length, this.#settings.deflation?.limits)
    if ('status' in handshake) return this.#refuse(handshake)
    if (this.#http.conn.ending) return this.#refuse({ status: 503, headers: { Connection: 'close' } })
    const answer = this.#settings.own.upgrade?.(this.#exchange.request)
    if (!isThenable(answer) && !this.#http.hasOpen) return this.#decide(handshake, answer as UpgradeAnswer<unknown>)
    this.#http.pause(pauseFor.upgrade)
    return this.#later(handshake, answer)
  }

  async #later(handshake: Handshake, answer: unknown): Promise<void> {
    try {
      const decided = (await answer) as UpgradeAnswer<unknown>
      // A write outside of a hook waits for no reply: those to the requests before must have left.
      await this.#http.untilAlone(this.#exchange)
      if (!this.#exchange.isGone) this.#decide(handshake, decided)
    } finally {
      if (!this.#exchange.isGone) this.#http.resume(pauseFor.upgrade)
    }
  }

  #decide(handshake: Handshake, answer: UpgradeAnswer<unknown>): void {
    if (answer === false) return this.#refuse({ status: 403 })
    if (answer === undefined || answer === true) return this.#accept(handshake, {})
    if (typeof answer !== 'object' || answer === null) {
      throw new MultireactorError(
        'ERR_MR_WEBSOCKET',
        `upgrade(): must return nothing, true, false, { data, protocol, headers } or { status, headers, body }, and returned ${shown(answer)}`,
      )
    }
    return 'status' in answer ? this.#refuse(answer) : this.#accept(handshake, answer)
  }

  #refuse({ status, headers = {}, body = '' }: WebSocketRefusal): void {
    if (!Number.isInteger(status) || status < 300 || status > 599) {
      throw new MultireactorError('ERR_MR_WEBSOCKET', `upgrade(): a refusal's status is from 300 to 599, and is ${shown(status)}`)
    }
    const { response } = this.#exchange
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    response.status(status).end(body)
  }

  #accept(handshake: Handshake, { data, protocol, headers }: WebSocketAccept<unknown>): void {
    const { protocols } = this.#settings
    const chosen = protocol ?? handshake.offered.find((each) => protocols.includes(each))
    const { conn } = this.#http
    const windowBits = handshake.deflate?.serverWindowBits ?? 0
    this.#exchange.replace(acceptance(handshake, chosen, headers))
    conn.setFraming(this.#settings.framing(windowBits))
    if (data !== undefined) conn.data = data
    this.#http.socket = new WebSocketConnection(conn, this.#settings, chosen ?? '', windowBits)
    this.#http.socket.open()
  }
}
