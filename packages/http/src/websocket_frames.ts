import { Buffer } from 'node:buffer'
import { isBytes, lengthOf, MultireactorError, shown } from '@multireactor/addon'

export const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const
export type Opcode = (typeof opcode)[keyof typeof opcode]

const finBit = 0x80
/** Of the first frame of a message: RSV1. */
const compressedBit = 0x40
const twoBytes = 126
const eightBytes = 127
/** A longer payload is not worth copying to have its header in front of it. */
const mostJoined = 16 << 10
const roomForHeader = 4
/** Of the frame that is being sent: the reactor copies it. */
const scratch = Buffer.allocUnsafeSlow(roomForHeader + mostJoined)

/** Where frames go: bytes are copied before `write` returns, and two writes of one call stay together. */
export interface FrameTarget {
  write(bytes: Uint8Array): boolean
}

/** Sends one whole frame. `compressed`: the data are the deflated message. False: there is no room for more. */
export function sendFrame(target: FrameTarget, op: Opcode, data: string | Uint8Array, compressed = false): boolean {
  const first = finBit | op | (compressed ? compressedBit : 0)
  const most = typeof data === 'string' ? data.length * 3 : lengthOf(data)
  if (most > mostJoined) {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data
    target.write(header(first, bytes.length))
    return target.write(bytes)
  }
  let length = most
  if (typeof data === 'string') length = scratch.write(data, roomForHeader)
  else scratch.set(data, roomForHeader)
  const start = length < twoBytes ? 2 : 0
  scratch[start] = first
  if (start === 2) {
    scratch[3] = length
  } else {
    scratch[1] = twoBytes
    scratch.writeUInt16BE(length, 2)
  }
  return target.write(scratch.subarray(start, roomForHeader + length))
}

/** The frame of a message that is not compressed. */
export function plainMessage(data: string | Uint8Array): Buffer {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data
  return Buffer.concat([header(finBit | opOf(data), bytes.length), bytes])
}

/** The frame of a compressed message. */
export function compressedFrame(op: Opcode, deflated: Uint8Array): Buffer {
  return Buffer.concat([header(finBit | compressedBit | op, deflated.length), deflated])
}

export function opOf(data: string | Uint8Array): Opcode {
  return typeof data === 'string' ? opcode.text : opcode.binary
}

export function checkMessage(call: string, data: unknown): asserts data is string | Uint8Array {
  if (isBytes(data)) return
  throw new MultireactorError('ERR_MR_DATA', `${call}: the data must be a string or Uint8Array, and is ${shown(data)}`)
}

function header(first: number, length: number): Buffer {
  if (length < twoBytes) return Buffer.from([first, length])
  if (length <= 0xffff) {
    const short = Buffer.from([first, twoBytes, 0, 0])
    short.writeUInt16BE(length, 2)
    return short
  }
  const long = Buffer.alloc(10)
  long[0] = first
  long[1] = eightBytes
  long.writeBigUInt64BE(BigInt(length), 2)
  return long
}
