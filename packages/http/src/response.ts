import { Buffer } from 'node:buffer'
import { isBytes, MultireactorError, shown } from '@multireactor/addon'
import { http1Info } from '@multireactor/reactor'
import { checkField, lowerName } from './fields.js'
import { dateLine, isBodiless, okPrefix, statusLine } from './status.js'

export type Bytes = string | Uint8Array

/** Where a response goes: a place in the order of a connection, or a reply of the pool. */
export interface ResponseTarget {
  /** The response is these bytes. `close`: and then the connection ends. `ascii`: they are a string of nothing else. */
  whole(bytes: Bytes, close: boolean, ascii: boolean): void
  /** False: wait for room. */
  part(bytes: Bytes): boolean
  last(bytes: Bytes, close: boolean): void
  /** There is room again, or the connection is gone. */
  room(): Promise<void>
  /** The app has called something on a response that nobody reads. */
  countLateCall(): void
  /** The response cannot end as it began. */
  destroy(): void
  /** No request may follow this one. */
  mustClose(): boolean
}

const { old, head: isHead } = http1Info
/** A body up to this size leaves with its head in one piece of memory. */
const mostJoined = 16 << 10
const lastChunk = '0\r\n\r\n'
/** `gone`: the connection has closed, or the response was given up by the server: what the app still does with it has no effect. */
type State = 'open' | 'streaming' | 'ended' | 'gone'

/** The answer to one request. Everything is sent by `end`, in one piece, unless `write` comes first. */
export class HttpResponse {
  statusCode = 200
  readonly #target: ResponseTarget
  readonly #info: number
  #state: State = 'open'
  #fields: [lower: string, lines: string][] | undefined
  #latin1 = false
  #close = false
  #chunked = false
  /** A body whose length the app has declared: what is missing of it. */
  #left = -1

  /** Made by the app. */
  constructor(target: ResponseTarget, info: number) {
    this.#target = target
    this.#info = info
  }

  /** The head has left: neither status nor fields can change any more. */
  get headersSent(): boolean {
    return this.#state !== 'open'
  }
  get ended(): boolean {
    return this.#state === 'ended' || this.#state === 'gone'
  }

  status(code: number): this {
    this.statusCode = code
    return this
  }

  /** Sets a field, in place of one of the same name. A list becomes as many lines. Throws `ERR_MR_HTTP` for what no field can hold. */
  setHeader(name: string, value: string | number | readonly string[]): this {
    const lower = lowerName('setHeader()', name)
    this.removeHeader(lower)
    return this.#addHeader(name, lower, value)
  }

  /** Adds a line to those of the same name. */
  appendHeader(name: string, value: string | number | readonly string[]): this {
    return this.#addHeader(name, lowerName('appendHeader()', name), value)
  }

  removeHeader(name: string): void {
    const lower = lowerName('removeHeader()', name)
    this.#checkOpen('removeHeader()')
    if (this.#fields) this.#fields = this.#fields.filter(([other]) => other !== lower)
    if (lower === 'content-length') this.#left = -1
    if (lower === 'connection') this.#close = false
  }

  hasHeader(name: string): boolean {
    const lower = lowerName('hasHeader()', name)
    return this.#fields?.some(([other]) => other === lower) ?? false
  }

  #addHeader(name: string, lower: string, value: string | number | readonly string[]): this {
    this.#checkOpen('setHeader()')
    let lines = ''
    for (const each of Array.isArray(value) ? (value as readonly unknown[]) : [value]) {
      checkField(name, each)
      lines += `${name}: ${each}\r\n`
    }
    if (lower === 'content-length') return this.#declareLength(lines, value)
    if (lower === 'transfer-encoding') {
      throw new MultireactorError(
        'ERR_MR_HTTP',
        'Transfer-Encoding is set by the server: write() without Content-Length is chunked',
      )
    }
    if (lower === 'connection' && /(^|[\s,])close([\s,]|$)/i.test(String(value))) this.#close = true
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what is not ASCII
    if (/[^\x00-\x7f]/.test(lines)) this.#latin1 = true
    this.#fields ??= []
    this.#fields.push([lower, lines])
    return this
  }

  #declareLength(lines: string, value: unknown): this {
    const length = Number(value)
    if (!/^\d+$/.test(String(value)) || !Number.isSafeInteger(length)) {
      throw new MultireactorError('ERR_MR_HTTP', `Content-Length must be a whole number, and is ${shown(value)}`)
    }
    this.#dropField('content-length')
    this.#left = length
    this.#fields ??= []
    this.#fields.push(['content-length', lines])
    return this
  }

  /**
   * Sends a part of the body; the first call sends the head. False: wait for `drained()`; or the connection has closed. The body is
   * chunked when its length was not declared. Throws `ERR_MR_DATA`, and `ERR_MR_HTTP` after your own `end()` or for more than was
   * declared.
   */
  write(chunk: Bytes): boolean {
    // Before the head leaves: whoever gave something wrong may still answer with an error.
    const length = lengthOf('write()', chunk)
    if (this.#state === 'gone') return this.#late()
    if (this.#state === 'ended') throw ended('write()')
    if (this.#state === 'open') this.#begin()
    return this.#part(chunk, length)
  }

  /** Resolves when there is room for more, or nobody who takes it. */
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
      return this.#target.destroy()
    }
    this.#state = 'ended'
    this.#target.last(this.#chunked ? lastChunk : '', this.#close)
  }

  /** Ends it with a status and its words, if it has not begun; otherwise it is cut off, so that nobody takes it for whole. */
  abandon(status: number, close: boolean): void {
    if (this.ended) return
    if (this.#state === 'streaming') {
      this.#state = 'gone'
      return this.#target.destroy()
    }
    this.#fields = undefined
    this.#left = -1
    this.statusCode = status
    this.#close = close
    this.end()
    // Not the app's doing: a handler that goes on has made no mistake.
    this.#state = 'gone'
  }

  /** Nobody reads it any more. */
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
    const target = this.#target
    const length = lengthOf('end()', body)
    const status = this.statusCode
    const bodiless = isBodiless(status)
    const close = this.#close || target.mustClose()
    let head = status === 200 ? okPrefix() : statusLine(checkedStatus(status)) + dateLine()
    if (this.#fields !== undefined || close || (this.#info & old) !== 0) {
      // A declared length counts only where there is no body: otherwise the body's own is the truth.
      if (length > 0 || ((this.#info & isHead) === 0 && !bodiless)) this.#dropField('content-length')
      else if (this.hasHeader('content-length')) return this.#send(head + this.#lines(close) + '\r\n', '', close, true)
      head += this.#lines(close)
    }
    head += bodiless ? '\r\n' : `Content-Length: ${length}\r\n\r\n`
    this.#send(head, bodiless || (this.#info & isHead) !== 0 ? '' : body, close, length === body.length)
  }

  #dropField(lower: string): void {
    if (this.#fields) this.#fields = this.#fields.filter(([other]) => other !== lower)
  }

  #lines(close: boolean): string {
    let lines = ''
    let named = false
    if (this.#fields) {
      for (const [lower, line] of this.#fields) {
        if (lower === 'connection') {
          if (close && !this.#close) continue
          named = true
        }
        lines += line
      }
    }
    if (close && !named) lines += 'Connection: close\r\n'
    else if (!named && (this.#info & old) !== 0) lines += 'Connection: keep-alive\r\n'
    return lines
  }

  #send(head: string, body: Bytes, close: boolean, ascii: boolean): void {
    this.#state = 'ended'
    if (!this.#latin1) {
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
    const http10 = (this.#info & old) !== 0
    const declared = this.hasHeader('content-length')
    if (isBodiless(status) || (this.#info & isHead) !== 0) this.#left = 0
    this.#chunked = this.#left < 0 && !http10
    // Without chunks the end of the connection is the end of the body.
    if (this.#left < 0 && http10) this.#close = true
    this.#close = this.#close || this.#target.mustClose()
    let head = statusLine(status) + dateLine() + this.#lines(this.#close)
    if (!declared && this.#chunked) head += 'Transfer-Encoding: chunked\r\n'
    head += '\r\n'
    this.#state = 'streaming'
    this.#target.part(this.#latin1 ? Buffer.from(head, 'latin1') : head)
  }

  #part(chunk: Bytes, length: number): boolean {
    if (length === 0 || isBodiless(this.statusCode) || (this.#info & isHead) !== 0) return true
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
