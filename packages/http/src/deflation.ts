import { Buffer } from 'node:buffer'
import type { Deflated } from '@multireactor/reactor/parts'
import { deflateLater, deflateNow } from './deflate.js'
import type { DeflateLimits } from './deflate_agreement.js'
import { DeflateLane } from './deflate_lane.js'
import type { ReadDeflateOptions } from './deflate_options.js'
import { compressedFrame, type Opcode } from './websocket_frames.js'

/** A message up to this is compressed, and inflated, by the reactor's own thread: it takes less than handing it to another one. */
export const mostNow: number = 16 << 10
/** zlib's threads belong to the whole process, and there are four of them. */
const mostAtOnce = 4
/** Nothing in a message of so few bytes refers further back than the smallest window, for any window of zlib. */
const leastWindow = 256
const leastWindowBits = 8

/** How the messages of an app are compressed. */
export class Deflation {
  readonly limits: DeflateLimits
  readonly thresholdBytes: number
  readonly #level: number

  constructor(options: ReadDeflateOptions) {
    this.limits = options
    this.thresholdBytes = options.thresholdBytes
    this.#level = options.level
  }

  /** Whether a message of so many bytes is worth it, and whether a peer with such a window can read it. */
  suits(bytes: number, windowBits: number): boolean {
    // zlib has no window of 8 bits.
    return bytes >= this.thresholdBytes && (windowBits > leastWindowBits || bytes <= leastWindow)
  }

  now(bytes: Uint8Array, windowBits: number): Buffer {
    return deflateNow(bytes, windowBits, this.#level)
  }

  later(bytes: Uint8Array, windowBits: number): Promise<Buffer> {
    return zlibLane.run(() => deflateLater(bytes, windowBits, this.#level))
  }

  /** The frame of a message for all whose window is large enough. Undefined: it would be no shorter. */
  formNow(op: Opcode, bytes: Uint8Array): Deflated | undefined {
    return this.#formOf(op, bytes.length, this.now(bytes, this.limits.serverMaxWindowBits))
  }

  async formLater(op: Opcode, bytes: Uint8Array): Promise<Deflated | undefined> {
    return this.#formOf(op, bytes.length, await this.later(bytes, this.limits.serverMaxWindowBits))
  }

  #formOf(op: Opcode, plain: number, deflated: Buffer): Deflated | undefined {
    if (deflated.length >= plain) return undefined
    const needed = Math.max(Math.ceil(Math.log2(plain)), leastWindowBits)
    return { bytes: compressedFrame(op, deflated), windowBits: Math.min(needed, this.limits.serverMaxWindowBits) }
  }
}

/** Of this thread, in both directions. */
export const zlibLane: DeflateLane = new DeflateLane(mostAtOnce)

export function bytesOf(data: string | Uint8Array): Uint8Array {
  return typeof data === 'string' ? Buffer.from(data) : data
}
