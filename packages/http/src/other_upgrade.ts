import { MultireactorError, shown } from '@multireactor/addon'
import { type ConnectionDuplex, http1Info } from '@multireactor/reactor'
import { checkField } from './fields.js'
import type { HttpConnection } from './http_connection.js'
import { pauseFor } from './pause_reasons.js'
import type { ReactorExchange } from './reactor_exchange.js'
import type { HttpRequest } from './request.js'
import { isThenable } from './thenable.js'

const { headMask, contentFollows, chunked, close, http10 } = http1Info

/** How a request for another protocol is accepted. */
export interface ProtocolUpgrade {
  /** One of those that the request's `Upgrade` names. */
  protocol: string
  /** Fields of the response 101, beside `Upgrade` and `Connection`. */
  headers?: Record<string, string>
  /** Gets the connection, whose bytes are the other protocol's from here on. */
  open(stream: ConnectionDuplex): void
}

/** Nothing: the request is answered as any other. */
export type ProtocolUpgradeAnswer = ProtocolUpgrade | undefined | void
export type ProtocolUpgradeHook = (req: HttpRequest) => ProtocolUpgradeAnswer | Promise<ProtocolUpgradeAnswer>

/**
 * Whether a request may become another protocol. RFC 9110, section 7.8: not in HTTP/1.0; and content would have to be read first.
 * `length`: of its frame.
 */
export function mayUpgrade(info: number, length: number): boolean {
  return (info & (contentFollows | chunked | close | http10)) === 0 && length === (info & headMask)
}

/** One request for another protocol than WebSocket. Nothing behind it is read before it is decided. */
export class OtherUpgrade {
  readonly #http: HttpConnection
  readonly #hook: ProtocolUpgradeHook
  readonly #exchange: ReactorExchange

  constructor(http: HttpConnection, hook: ProtocolUpgradeHook, exchange: ReactorExchange) {
    this.#http = http
    this.#hook = hook
    this.#exchange = exchange
  }

  /** Inside the message hook of the request, as its handler. */
  handle(): unknown {
    if (this.#http.conn.ending) return this.#answer()
    const answer = this.#hook(this.#exchange.request)
    if (!isThenable(answer) && !this.#http.hasOpen) return this.#decide(answer)
    this.#http.pause(pauseFor.upgrade)
    return this.#later(answer)
  }

  async #later(answer: ReturnType<ProtocolUpgradeHook>): Promise<void> {
    let decided: ProtocolUpgradeAnswer
    try {
      decided = await answer
      // A write outside of a hook waits for no reply: those to the requests before must have left.
      if (decided !== undefined) await this.#http.untilAlone(this.#exchange)
    } catch (error) {
      this.#goOn()
      throw error
    }
    if (this.#exchange.isGone) return
    if (decided === undefined) this.#goOn()
    await this.#decide(decided)
  }

  #goOn(): void {
    if (!this.#exchange.isGone) this.#http.resume(pauseFor.upgrade)
  }

  #answer(): unknown {
    return this.#http.answer(this.#exchange)
  }

  #decide(answer: ProtocolUpgradeAnswer): unknown {
    if (answer === undefined) return this.#answer()
    let head: Buffer
    try {
      head = switching(answer, this.#exchange.request)
    } catch (error) {
      this.#goOn()
      throw error
    }
    this.#exchange.replace(head)
    const stream = this.#http.conn.toDuplex()
    try {
      answer.open(stream)
    } catch (error) {
      // Without the error: it is reported here, and an `error` event without a listener would throw.
      stream.destroy()
      throw error
    }
    return undefined
  }
}

function switching(answer: ProtocolUpgrade, request: HttpRequest): Buffer {
  if (typeof answer !== 'object' || answer === null || typeof answer.open !== 'function') {
    throw new MultireactorError(
      'ERR_MR_HTTP',
      `upgrade(): must return nothing or { protocol, headers, open }, and returned ${shown(answer)}`,
    )
  }
  const { protocol, headers = {} } = answer
  const offered = (request.header('upgrade') ?? '').split(',').map((each) => each.trim())
  if (!offered.some((each) => each !== '' && each === protocol)) {
    throw new MultireactorError(
      'ERR_MR_HTTP',
      `upgrade(): the protocol must be one that the request names (${offered.join(', ')}), and is ${shown(protocol)}`,
    )
  }
  let head = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${protocol}\r\nConnection: Upgrade\r\n`
  for (const [name, value] of Object.entries(headers)) {
    checkField(name, value)
    if (/^(?:upgrade|connection|content-length|transfer-encoding)$/i.test(name)) {
      throw new MultireactorError('ERR_MR_HTTP', `upgrade(): ${name} is set by the server`)
    }
    head += `${name}: ${value}\r\n`
  }
  return Buffer.from(`${head}\r\n`, 'latin1')
}
