import { MultireactorError, shown } from '@multireactor/addon'
import { http1Info } from '@multireactor/reactor'
import { checkField } from './fields.js'
import { dateLine, okPrefix, statusLine } from './status.js'

const { http10: isHttp10, head: isHead } = http1Info
/** In place of a length: nobody knows it. */
export const unknownLength = -1

const asksToClose = /(^|[\s,])close([\s,]|$)/i
// biome-ignore lint/suspicious/noControlCharactersInRegex: what is not ASCII
const notAscii = /[^\x00-\x7f]/

/** The fields that an app has set. Those that frame the response are kept as what they say, and become lines in `headOf`. */
export class ResponseFields {
  #lines: [lower: string, lines: string][] = []
  /** The `Content-Length` that the app has declared, or `unknownLength`. */
  length: number = unknownLength
  /** The app has set `Date`. */
  dated = false
  /** The app has set `Connection: close`. */
  close = false
  /** A value has bytes above 0x7f. */
  latin1 = false

  /** `replace`: in place of those of the same name, not beside them. Throws `ERR_MR_HTTP` for what no field can hold. */
  add(name: string, lower: string, value: string | number | readonly string[], replace: boolean): void {
    const values = Array.isArray(value) ? (value as readonly (string | number)[]) : [value as string | number]
    let lines = ''
    for (const each of values) {
      checkField(name, each)
      lines += `${name}: ${each}\r\n`
    }
    switch (lower) {
      case 'content-length':
        this.length = lengthIn(value)
        return
      case 'transfer-encoding':
        throw new MultireactorError(
          'ERR_MR_HTTP',
          'Transfer-Encoding is set by the server: write() without Content-Length is chunked',
        )
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
    if (lower === 'connection' && asksToClose.test(String(value))) this.close = true
    if (notAscii.test(lines)) this.latin1 = true
    this.#lines.push([lower, lines])
  }

  has(lower: string): boolean {
    return lower === 'content-length' ? this.length >= 0 : this.#lines.some(([other]) => other === lower)
  }

  remove(lower: string): void {
    if (lower === 'content-length') this.length = unknownLength
    if (lower === 'connection') this.close = false
    if (lower === 'date') this.dated = false
    this.#lines = this.#lines.filter(([other]) => other !== lower)
  }

  /** With the line of `Connection` that says what the server does. */
  toLines(close: boolean, http10: boolean): string {
    let lines = ''
    let named = false
    for (const [lower, line] of this.#lines) {
      if (lower === 'connection') {
        if (close && !this.close) continue
        named = true
      }
      lines += line
    }
    return named ? lines : lines + connectionLine(close, http10)
  }
}

function lengthIn(value: unknown): number {
  const length = Number(value)
  if (/^\d+$/.test(String(value)) && Number.isSafeInteger(length)) return length
  throw new MultireactorError('ERR_MR_HTTP', `Content-Length must be a whole number, and is ${shown(value)}`)
}

function connectionLine(close: boolean, http10: boolean): string {
  if (close) return 'Connection: close\r\n'
  return http10 ? 'Connection: keep-alive\r\n' : ''
}

/** No content follows the head of such a response, whatever its fields say: RFC 9110, sections 9.3.2, 15.3.5, 15.3.6, 15.4.5. */
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
    // What GET would have got, or nothing: a handler that gives HEAD no content has not said how much there is.
    const known = status !== 304 && length > 0 ? length : declared
    return known >= 0 ? `Content-Length: ${known}\r\n` : ''
  }
  // The length of what is there is the truth, whatever was declared.
  const known = length >= 0 ? length : declared
  if (known >= 0) return `Content-Length: ${known}\r\n`
  return isChunked(status, info, fields) ? 'Transfer-Encoding: chunked\r\n' : ''
}
