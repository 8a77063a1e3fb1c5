import { createHash } from 'node:crypto'
import { MultireactorError, shown } from '@multireactor/addon'
import { http1Info } from '@multireactor/reactor'
import { agreeOnDeflate, type DeflateAgreement, type DeflateLimits } from './deflate_agreement.js'
import { checkField } from './fields.js'
import type { HttpRequest } from './request.js'
import { parseExtensions } from './websocket_extensions.js'

const { headMask, contentFollows, upgrade, chunked } = http1Info
const magic = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** 16 bytes in base64. */
const keyForm = /^[+/0-9A-Za-z]{21}[AQgw]==$/
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const version = '13'

/** The refusal of a handshake. */
export interface WebSocketRefusal {
  /** 400 to 599; a redirection works with few clients. */
  status: number
  /** Fields of the answer besides those that the server sets. */
  headers?: Record<string, string>
  /** The content of the answer. Default: none. */
  body?: string | Uint8Array
}

export interface Handshake {
  key: string
  /** The subprotocols that the peer offers, the one that it likes best first. */
  offered: string[]
  /** The agreement on compressed messages. */
  deflate: DeflateAgreement | undefined
}

/** Whether a request is for a WebSocket, be it a good one or not. `length`: of its frame. */
export function asksForWebSocket(req: HttpRequest): boolean {
  if ((req.info & upgrade) === 0) return false
  return listOf(req.header('upgrade')).some((each) => each.toLowerCase() === 'websocket')
}

/** Section 4.2.1 of RFC 6455; the rules of HTTP for every request have been checked. */
export function readHandshake(req: HttpRequest, length: number, limits: DeflateLimits | undefined): Handshake | WebSocketRefusal {
  if (req.method !== 'GET') return refusal(405, 'a WebSocket is asked for with GET', { Allow: 'GET' })
  const hasBody = (req.info & (contentFollows | chunked)) !== 0 || length > (req.info & headMask)
  if (hasBody) return refusal(400, 'a request for a WebSocket has no body')
  if (req.header('sec-websocket-version') !== version) {
    return refusal(426, `the version must be ${version}`, { Upgrade: 'websocket', 'Sec-WebSocket-Version': version })
  }
  const key = req.header('sec-websocket-key')
  if (key === undefined || !keyForm.test(key)) return refusal(400, 'Sec-WebSocket-Key must be 16 bytes in base64')
  const header = req.header('sec-websocket-protocol')
  const offered = listOf(header)
  const wrong = header !== undefined && (offered.length === 0 || new Set(offered).size !== offered.length)
  if (wrong || !offered.every((each) => token.test(each))) {
    return refusal(400, 'Sec-WebSocket-Protocol must be a list of different tokens')
  }
  // Without extensions of our own the peer's offers do not matter.
  const field = limits && req.header('sec-websocket-extensions')
  if (field === undefined) return { key, offered, deflate: undefined }
  const extensions = parseExtensions(field)
  if (!extensions) return refusal(400, 'Sec-WebSocket-Extensions must be a list of extensions')
  return { key, offered, deflate: agreeOnDeflate(extensions, limits!) }
}

/** The whole response. Throws `ERR_MR_WEBSOCKET` and `ERR_MR_HTTP` for a value that it cannot have. */
export function acceptance(
  { key, offered, deflate }: Handshake,
  protocol: string | undefined,
  headers: Record<string, string> = {},
): Buffer {
  let head = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
  head += `Sec-WebSocket-Accept: ${createHash('sha1')
    .update(key + magic)
    .digest('base64')}\r\n`
  if (protocol !== undefined) {
    if (!offered.includes(protocol)) {
      throw new MultireactorError(
        'ERR_MR_WEBSOCKET',
        `upgrade(): the protocol must be one that the peer offers (${offered.join(', ') || 'none'}), and is ${shown(protocol)}`,
      )
    }
    head += `Sec-WebSocket-Protocol: ${protocol}\r\n`
  }
  if (deflate) head += `Sec-WebSocket-Extensions: ${deflate.response}\r\n`
  for (const [name, value] of Object.entries(headers)) {
    checkField(name, value)
    if (/^(upgrade|connection|sec-websocket-|content-length$|transfer-encoding$)/i.test(name)) {
      throw new MultireactorError('ERR_MR_WEBSOCKET', `upgrade(): ${name} is set by the server`)
    }
    head += `${name}: ${value}\r\n`
  }
  return Buffer.from(`${head}\r\n`, 'latin1')
}

function refusal(status: number, body: string, headers: Record<string, string> = {}): WebSocketRefusal {
  return { status, body: `${body}\n`, headers: { 'Content-Type': 'text/plain', ...headers } }
}

function listOf(value: string | undefined): string[] {
  if (value === undefined) return []
  return value
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
}
