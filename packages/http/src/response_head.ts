import { MultireactorError, shown } from '@multireactor/addon'
import { http1Info } from '@multireactor/reactor'
import { checkField, isToken } from './fields.js'
import { dateLine, okPrefix, statusLine } from './status.js'

const { http10: isHttp10, head: isHead } = http1Info
/** In place of a length: the length is unknown. */
export const unknownLength = -1

// biome-ignore lint/suspicious/noControlCharactersInRegex: the characters that are not ASCII
const notAscii = /[^\x00-\x7f]/

/** The fields that an app has set. Those that frame the response are kept as values, and become lines in `headOf`. */
export class ResponseFields {
  #lines: [lower: string, lines: string][] = []
  /** The `Content-Length` that the app has declared, or `unknownLength`. */
  length: number = unknownLength
  /** The app has set `Date`. */
  dated = false
  /** The app has set `Connection: close`. */
  close = false
  /** The other options that the app has set in `Connection`, `keep-alive` among them. */
  #connection: string[] = []
  /** A value has bytes above 0x7f. */
  latin1 = false

  /** `replace`: in place of those of the same name, not beside them. Throws `ERR_MR_HTTP` for a value that no field can hold. */
  add(name: string, lower: string, value: string | number | readonly string[], replace: boolean): void {
    const values = Array.isArray(value) ? (value as readonly (string | number)[]) : [value as string | number]
    let lines = ''
    for (const each of values) {
      checkField(name, each)
      lines += `${name}: ${each}\r\n`
    }
    switch (lower) {
      case 'content-length':
        this.length = lengthIn(values)
        return
      case 'transfer-encoding':
        throw new MultireactorError(
          'ERR_MR_HTTP',
          'Transfer-Encoding is set by the server: write() without Content-Length is chunked',
        )
      case 'connection':
        if (replace) this.remove(lower)
        for (const option of optionsIn(values)) {
          if (option.toLowerCase() === 'close') this.close = true
          else this.#connection.push(option)
        }
        return
      case 'date':
        // No list: the last one counts. RFC 9110, section 5.3.
        this.remove(lower)
        if (values.length === 0) return
        lines = `${name}: ${values.at(-1)}\r\n`
        this.dated = true
        break
      default:
        if (replace) this.remove(lower)
    }
    if (notAscii.test(lines)) this.latin1 = true
    this.#lines.push([lower, lines])
  }

  has(lower: string): boolean {
    if (lower === 'content-length') return this.length >= 0
    if (lower === 'connection') return this.close || this.#connection.length > 0
    return this.#lines.some(([other]) => other === lower)
  }

  remove(lower: string): void {
    switch (lower) {
      case 'content-length':
        this.length = unknownLength
        return
      case 'connection':
        this.close = false
        this.#connection = []
        return
      case 'date':
        this.dated = false
    }
    this.#lines = this.#lines.filter(([other]) => other !== lower)
  }

  /** With the one line of `Connection`, which the server decides. */
  toLines(close: boolean, http10: boolean): string {
    let lines = ''
    for (const [, line] of this.#lines) lines += line
    if (this.#connection.length === 0) return lines + connectionLine(close, http10)
    const others = this.#connection.filter((option) => option.toLowerCase() !== 'keep-alive')
    if (close) others.push('close')
    // Without it a peer of HTTP/1.0 takes the connection for closed; in HTTP/1.1 it means nothing, and is the app's own.
    else if (http10 || others.length < this.#connection.length) others.push('keep-alive')
    return `${lines}Connection: ${others.join(', ')}\r\n`
  }
}

function lengthIn(values: readonly (string | number)[]): number {
  // A list of equal ones, as `Headers` joins them, is one: RFC 9110, section 8.6.
  const [first, ...others] = values.flatMap((value) => String(value).split(',')).map((value) => value.trim())
  const length = Number(first)
  const isOne = first !== undefined && others.every((other) => other === first)
  if (isOne && /^\d+$/.test(first) && Number.isSafeInteger(length)) return length
  throw new MultireactorError(
    'ERR_MR_HTTP',
    `Content-Length must be a whole number, and is ${shown(values.length === 1 ? values[0] : values)}`,
  )
}

function* optionsIn(values: readonly (string | number)[]): Generator<string> {
  for (const value of values) {
    for (const option of String(value).split(',')) if (option.trim() !== '') yield checkedOption(option.trim())
  }
}

function checkedOption(option: string): string {
  if (isToken(option)) return option
  throw new MultireactorError('ERR_MR_HTTP', `an option in Connection must be a token of RFC 9110, and is ${shown(option)}`)
}

function connectionLine(close: boolean, http10: boolean): string {
  if (close) return 'Connection: close\r\n'
  return http10 ? 'Connection: keep-alive\r\n' : ''
}

/** No content follows the head of such a response, independent of its fields: RFC 9110, sections 9.3.2, 15.3.5, 15.3.6, 15.4.5. */
export function hasNoContent(status: number, info: number): boolean {
  return status === 204 || status === 205 || status === 304 || (info & isHead) !== 0
}

/** Content of unknown length ends with a last chunk (RFC 9112, section 7.1), or with the connection where the peer knows no chunks. */
export function isChunked(status: number, info: number, fields: ResponseFields | undefined): boolean {
  return (info & isHttp10) === 0 && !hasNoContent(status, info) && (fields === undefined || fields.length < 0)
}

/**
 * The head of every response, however the app makes it: nothing else writes `Date` (RFC 9110, section 6.6.1), `Connection` (RFC 9112,
 * section 9.3), `Content-Length` (RFC 9110, section 8.6) or `Transfer-Encoding`. `info`: of the request. `length`: of the content that
 * the app gave in one piece, or `unknownLength`.
 */
export function headOf(status: number, info: number, fields: ResponseFields | undefined, length: number, close: boolean): string {
  const http10 = (info & isHttp10) !== 0
  let head = status === 200 ? okPrefix(fields?.dated) : statusLine(status)
  if (status !== 200 && !fields?.dated) head += dateLine()
  if (fields !== undefined) head += fields.toLines(close, http10)
  else if (close || http10) head += connectionLine(close, http10)
  return `${head}${framingLine(status, info, fields, length)}\r\n`
}

function framingLine(status: number, info: number, fields: ResponseFields | undefined, length: number): string {
  if (status === 204) return ''
  if (status === 205) return 'Content-Length: 0\r\n'
  const declared = fields === undefined ? unknownLength : fields.length
  if (hasNoContent(status, info)) {
    // The length that GET would get, or none: a handler that writes no content for HEAD has not declared a length.
    const known = status !== 304 && length > 0 ? length : declared
    return known >= 0 ? `Content-Length: ${known}\r\n` : ''
  }
  // The length of the content wins over the declared one.
  const known = length >= 0 ? length : declared
  if (known >= 0) return `Content-Length: ${known}\r\n`
  return isChunked(status, info, fields) ? 'Transfer-Encoding: chunked\r\n' : ''
}
