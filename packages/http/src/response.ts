import { Buffer } from 'node:buffer'
import { isBytes, MultireactorError, shown } from '@multireactor/addon'
import { lowerName } from './fields.js'
import { hasNoContent, headOf, isChunked, ResponseFields, unknownLength } from './response_head.js'

export type Bytes = string | Uint8Array

/** Where a response goes: a place in the order of a connection, or a reply of the pool. */
export interface ResponseTarget {
  /** The response is these bytes. `close`: and then the connection ends. `ascii`: they are a string of nothing else. */
  whole(bytes: Bytes, close: boolean, ascii: boolean): void
  /** False: wait for room. */
  part(bytes: Bytes): boolean
  last(bytes: Bytes, close: boolean): void
  /** There is room again, or the connection is gone. Rejects when it is gone because its peer was too slow. */
  room(): Promise<void>
  /** The app has called something on a response that will not be sent. */
  countLateCall(): void
  /** The response cannot end as it began. `looksWhole`: its end is the end of the connection, and must not look like one. */
  destroy(looksWhole: boolean): void
  /** No request may follow this one. */
  mustClose(): boolean
  /** Registers a callback, called at most once, when the response cannot be sent any more. */
  onLeave(callback: ((reason: Error) => void) | undefined): void
}

/** A body up to this size leaves with its head in one piece of memory. */
const mostJoined = 16 << 10
const lastChunk = '0\r\n\r\n'
/** `gone`: the connection has closed, or the response was given up by the server: later calls have no effect. */
type State = 'open' | 'streaming' | 'ended' | 'gone'

/** The answer to one request. Everything is sent by `end`, in one piece, unless `write` comes first. */
export class HttpResponse {
  /** The status to be sent, 200 by default; 200 to 999. */
  statusCode = 200
  readonly #target: ResponseTarget
  readonly #info: number
  #state: State = 'open'
  #fields: ResponseFields | undefined
  #close = false
  #chunked = false
  /** Content that the app writes behind the head is not sent. */
  #bodiless = false
  /** While a body whose length the app has declared is on its way: the bytes that are missing. */
  #left = unknownLength

  /** @internal Made with its request. */
  constructor(target: ResponseTarget, info: number) {
    this.#target = target
    this.#info = info
  }

  /** The head has left: neither status nor fields can change any more. */
  get headersSent(): boolean {
    return this.#state !== 'open'
  }
  /** True once `end()` was called, or the connection has closed. */
  get ended(): boolean {
    return this.#state === 'ended' || this.#state === 'gone'
  }

  /** Sets `statusCode` and returns the response. */
  status(code: number): this {
    this.statusCode = code
    return this
  }

  /** Sets a field, in place of one of the same name. A list becomes as many lines. Throws `ERR_MR_HTTP` for a value that no field can hold. */
  setHeader(name: string, value: string | number | readonly string[]): this {
    return this.#addHeader('setHeader()', name, value, true)
  }

  /** Adds a line to those of the same name. Of fields that a response has once (`Content-Length`, `Date`), the last one counts. */
  appendHeader(name: string, value: string | number | readonly string[]): this {
    return this.#addHeader('appendHeader()', name, value, false)
  }

  /** Removes a header that has not been sent; the name in any case. */
  removeHeader(name: string): void {
    const lower = lowerName('removeHeader()', name)
    this.#checkOpen('removeHeader()')
    this.#fields?.remove(lower)
  }

  /** True when the header is set; the name in any case. */
  hasHeader(name: string): boolean {
    const lower = lowerName('hasHeader()', name)
    return this.#fields?.has(lower) ?? false
  }

  #addHeader(call: string, name: string, value: string | number | readonly string[], replace: boolean): this {
    const lower = lowerName(call, name)
    this.#checkOpen(call)
    this.#fields ??= new ResponseFields()
    this.#fields.add(name, lower, value, replace)
    return this
  }

  /**
   * Sends a part of the body; the first call sends the head. False: wait for `drained()`; or the connection has closed. The body is
   * chunked when its length was not declared. Throws `ERR_MR_DATA`, and `ERR_MR_HTTP` after your own `end()` or for more than was
   * declared.
   */
  write(chunk: Bytes): boolean {
    // Before the head leaves: after a wrong argument the app can still answer with an error.
    const length = lengthOf('write()', chunk)
    if (this.#state === 'gone') return this.#late()
    if (this.#state === 'ended') throw ended('write()')
    if (this.#state === 'open') this.#begin()
    return this.#part(chunk, length)
  }

  /**
   * Resolves when there is room for more, or the peer has left. Rejects with `ERR_MR_CONNECTION_CLOSED` when the
   * connection has closed because its peer left too much unread (`slow-consumer`, `memory-limit`, `write-timeout`).
   */
  drained(): Promise<void> {
    return this.#target.room()
  }

  /**
   * Ends the response. Without `write` before it everything leaves at once, with its length. Does nothing when the connection has closed.
   * Throws as `write` does.
   */
  end(chunk: Bytes = ''): void {
    if (this.#state === 'open') return this.#whole(chunk)
    if (this.#state === 'gone') {
      lengthOf('end()', chunk)
      this.#late()
      return
    }
    if (this.#state === 'ended') throw ended('end()')
    this.#part(chunk, lengthOf('end()', chunk))
    if (this.#left > 0) {
      // The peer would wait for the rest, or take the next response for it.
      this.#state = 'ended'
      return this.#target.destroy(false)
    }
    this.#state = 'ended'
    this.#target.last(this.#chunked ? lastChunk : '', this.#close)
  }

  /** @internal Answers with a status alone, when the handler has failed or does not answer any more. */
  abandon(status: number, close: boolean): void {
    if (this.ended) return
    if (this.#state === 'streaming') {
      this.#state = 'gone'
      return this.#target.destroy(this.#left < 0 && !this.#chunked)
    }
    this.#fields = undefined
    this.statusCode = status
    this.#close = close
    this.end()
    // Not the app's doing: a handler that goes on has made no mistake.
    this.#state = 'gone'
  }

  /** @internal The callback for the end of the reply, sent or not. */
  static onLeave(response: HttpResponse, callback: ((reason: Error) => void) | undefined): void {
    response.#target.onLeave(callback)
  }

  /** @internal The connection has closed: nothing of it is sent. */
  drop(): void {
    if (this.#state !== 'ended') this.#state = 'gone'
  }

  #late(): false {
    this.#target.countLateCall()
    return false
  }

  #checkOpen(call: string): void {
    if (this.#state !== 'open' && this.#state !== 'gone')
      throw new MultireactorError('ERR_MR_HTTP', `${call}: the head of the response has left already`)
  }

  #whole(body: Bytes): void {
    const length = lengthOf('end()', body)
    const status = checkedStatus(this.statusCode)
    const info = this.#info
    const fields = this.#fields
    const close = this.#close || fields?.close === true || this.#target.mustClose()
    const head = headOf(status, info, fields, length, close)
    this.#state = 'ended'
    this.#send(head, hasNoContent(status, info) ? '' : body, close, length === body.length)
  }

  #send(head: string, body: Bytes, close: boolean, ascii: boolean): void {
    if (this.#fields?.latin1 !== true) {
      if (body.length === 0) return this.#target.whole(head, close, true)
      if (typeof body === 'string') return this.#target.whole(head + body, close, ascii)
    }
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    const first = Buffer.from(head, 'latin1')
    if (bytes.length <= mostJoined) return this.#target.whole(Buffer.concat([first, bytes]), close, false)
    this.#target.part(first)
    this.#target.last(bytes, close)
  }

  #begin(): void {
    const status = checkedStatus(this.statusCode)
    const info = this.#info
    const fields = this.#fields
    this.#bodiless = hasNoContent(status, info)
    this.#chunked = isChunked(status, info, fields)
    if (fields !== undefined && !this.#bodiless) this.#left = fields.length
    // Without chunks the end of the connection is the end of the content.
    const endsIt = !this.#bodiless && !this.#chunked && this.#left < 0
    this.#close = this.#close || endsIt || fields?.close === true || this.#target.mustClose()
    const head = headOf(status, info, fields, unknownLength, this.#close)
    this.#state = 'streaming'
    this.#target.part(fields?.latin1 === true ? Buffer.from(head, 'latin1') : head)
  }

  #part(chunk: Bytes, length: number): boolean {
    if (length === 0 || this.#bodiless) return true
    if (this.#left >= 0) {
      if (length > this.#left) {
        throw new MultireactorError(
          'ERR_MR_HTTP',
          `write(): ${length} bytes are more than the ${this.#left} that are left of the declared Content-Length`,
        )
      }
      this.#left -= length
      return this.#target.part(chunk)
    }
    if (!this.#chunked) return this.#target.part(chunk)
    const size = `${length.toString(16)}\r\n`
    if (typeof chunk === 'string') return this.#target.part(`${size}${chunk}\r\n`)
    if (length <= mostJoined) return this.#target.part(Buffer.concat([Buffer.from(size), chunk, crlf]))
    this.#target.part(size)
    this.#target.part(chunk)
    return this.#target.part('\r\n')
  }
}

const crlf = Buffer.from('\r\n')

function checkedStatus(status: number): number {
  if (Number.isInteger(status) && status >= 200 && status <= 999) return status
  throw new MultireactorError('ERR_MR_HTTP', `the status must be a whole number from 200 to 999, and is ${shown(status)}`)
}

function ended(call: string): MultireactorError {
  return new MultireactorError('ERR_MR_HTTP', `${call}: the response has ended already`)
}

function lengthOf(call: string, body: Bytes): number {
  if (typeof body === 'string') return byteLength(body)
  if (isBytes(body)) return body.length
  throw new MultireactorError('ERR_MR_DATA', `${call}: the data must be a string or Uint8Array, and is ${shown(body)}`)
}

/** For short strings a loop is quicker than a call. */
function byteLength(text: string): number {
  const { length } = text
  if (length > 64) return Buffer.byteLength(text)
  for (let i = 0; i < length; i++) if (text.charCodeAt(i) > 0x7f) return Buffer.byteLength(text)
  return length
}
