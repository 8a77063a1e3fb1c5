import { constants, deflateRawSync, inflateRawSync, type ZlibOptions } from 'node:zlib'
import { exchange } from './http.js'

export const key = 'dGhlIHNhbXBsZSBub25jZQ=='
/** Of that key, by RFC 6455. */
export const accept = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='

/** A request for a WebSocket. `changed`: fields by name; undefined leaves one out. */
export function handshake(changed: Record<string, string | undefined> = {}, line = 'GET /chat HTTP/1.1'): string {
  const fields: Record<string, string | undefined> = {
    Host: 'a',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': key,
    'Sec-WebSocket-Version': '13',
    ...changed,
  }
  const lines = Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}\r\n`]))
  return `${line}\r\n${lines.join('')}\r\n`
}

export interface FrameForm {
  /** The first byte; by default derived from the opcode. */
  first?: number
  fin?: boolean
  masked?: boolean
  mask?: readonly number[]
  /** In so many bytes, however long it is. */
  lengthBytes?: 1 | 2 | 8
}

/** A frame as a client sends it. */
export function frame(opcode: number, payload: string | Uint8Array = '', form: FrameForm = {}): Buffer {
  const bytes = Buffer.from(payload as string)
  const { fin = true, masked = true, mask = [1, 2, 0x83, 0x94] } = form
  const lengthBytes = form.lengthBytes ?? (bytes.length < 126 ? 1 : bytes.length <= 0xffff ? 2 : 8)
  const header = Buffer.alloc(lengthBytes === 1 ? 2 : 2 + lengthBytes)
  header[0] = form.first ?? (fin ? 0x80 : 0) | opcode
  header[1] = lengthBytes === 1 ? bytes.length : lengthBytes === 2 ? 126 : 127
  if (lengthBytes === 2) header.writeUInt16BE(bytes.length, 2)
  if (lengthBytes === 8) header.writeBigUInt64BE(BigInt(bytes.length), 2)
  if (!masked) return Buffer.concat([header, bytes])
  header[1] = header[1]! | 0x80
  return Buffer.concat([header, Buffer.from(mask), bytes.map((byte, i) => byte ^ mask[i % 4]!)])
}

/** A compressed message as a client sends it, in so many frames. */
export function deflatedFrames(opcode: number, payload: string | Uint8Array, count = 1, options: ZlibOptions = {}): Buffer {
  const whole = deflated(payload, options)
  const size = Math.max(Math.ceil(whole.length / count), 1)
  return Buffer.concat(
    Array.from({ length: count }, (_, i) => {
      const fin = i === count - 1
      const part = whole.subarray(i * size, (i + 1) * size)
      return frame(i === 0 ? opcode : 0, part, { first: (fin ? 0x80 : 0) | (i === 0 ? 0x40 | opcode : 0) })
    }),
  )
}

/** A message compressed by RFC 7692, without context. */
export function deflated(payload: string | Uint8Array, options: ZlibOptions = {}): Buffer {
  return deflateRawSync(payload, { finishFlush: constants.Z_SYNC_FLUSH, ...options }).subarray(0, -4)
}

export function closeFrame(code: number, reason: string | Uint8Array = ''): Buffer {
  const payload = Buffer.concat([Buffer.alloc(2), Buffer.from(reason as string)])
  payload.writeUInt16BE(code, 0)
  return frame(8, payload)
}

const names: Record<number, string> = { 1: 'text', 2: 'binary', 8: 'close', 9: 'ping', 10: 'pong' }

/**
 * The messages of a server, in words: `text hello`, `close 1000 bye`. Long payloads by their length. Throws for bytes that no server may send.
 * `windowBits`: messages may be compressed, which is said by a star: `text* hello`.
 */
export function wordsOf(bytes: Buffer, windowBits = 0): string[] {
  const words: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const name = names[bytes[at]! & 15]
    const compressed = (bytes[at]! & 0xf0) === 0xc0 && (name === 'text' || name === 'binary') && windowBits !== 0
    if (((bytes[at]! & 0xf0) !== 0x80 && !compressed) || !name) throw new Error(`a frame that begins with ${bytes[at]}`)
    let length = bytes[at + 1]!
    if (length >= 128) throw new Error('a server masks nothing')
    at += 2
    if (length === 126) {
      length = bytes.readUInt16BE(at)
      at += 2
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(at))
      at += 8
    }
    if (at + length > bytes.length) throw new Error(`a frame of ${length} bytes, of which ${bytes.length - at} came`)
    let payload = bytes.subarray(at, at + length)
    at += length
    if (compressed) payload = inflated(payload, windowBits)
    const code = name === 'close' && length > 0 ? ` ${payload.readUInt16BE(0)}` : ''
    const text = payload.length > 1_000 ? `${payload.length} bytes` : payload.subarray(code === '' ? 0 : 2).toString('latin1')
    words.push(`${name}${compressed ? '*' : ''}${code}${text === '' ? '' : ` ${text}`}`)
  }
  return words
}

function inflated(payload: Buffer, windowBits: number): Buffer {
  const whole = Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])])
  return inflateRawSync(whole, { windowBits, finishFlush: constants.Z_SYNC_FLUSH })
}

/** Opens a WebSocket, sends the parts one by one, and resolves to all bytes of the server until it closed. */
export async function converse(port: number, parts: readonly (string | Uint8Array)[]): Promise<string[]> {
  return wordsOf(behindHandshake(await exchange(port, parts)))
}

/** The frames behind a 101. */
export function behindHandshake(text: string): Buffer {
  const end = text.indexOf('\r\n\r\n')
  if (!text.startsWith('HTTP/1.1 101 ') || end < 0) throw new Error(`no handshake: ${text}`)
  return Buffer.from(text.slice(end + 4), 'latin1')
}

/** In parts of one byte, or as many as make no more than some hundred of them. */
export function dribbled(bytes: Buffer): Buffer[] {
  const step = Math.ceil(bytes.length / 400)
  return Array.from({ length: Math.ceil(bytes.length / step) }, (_, i) => bytes.subarray(i * step, (i + 1) * step))
}
