import { OptionReader } from '@multireactor/addon'
import { mostWindowBits } from './deflate_agreement.js'

/** How messages are compressed for clients that offer permessage-deflate (RFC 7692). */
export interface DeflateOptions {
  /** Shorter messages are sent as they are. Default 1,024 bytes. */
  thresholdBytes?: number
  /** Of zlib: 1, the fastest, to 9, the smallest. Default 1. */
  level?: number
  /** The window that messages are compressed with has at most so many bits, 9 to 15. Default 15: 32 KiB. A client may ask for less. */
  serverMaxWindowBits?: number
  /** The same for messages of clients. A client that does not accept the parameter gets no compression. Default 15. */
  clientMaxWindowBits?: number
}

export interface ReadDeflateOptions {
  thresholdBytes: number
  level: number
  serverMaxWindowBits: number
  clientMaxWindowBits: number
}

// zlib has no window of 8 bits.
const leastWindowBits = 9

/** The options, checked, with their defaults. Undefined: nothing is compressed. */
export function readDeflateOptions(where: string, options: unknown): ReadDeflateOptions | undefined {
  if (options === undefined || options === false) return undefined
  const names = ['thresholdBytes', 'level', 'serverMaxWindowBits', 'clientMaxWindowBits']
  const read = new OptionReader(where, options === true ? {} : options, names, 'true, false or an object of options')
  return {
    thresholdBytes: read.integer('thresholdBytes', 1024, 0, 0x7fff_ffff),
    level: read.integer('level', 1, 1, 9),
    serverMaxWindowBits: read.integer('serverMaxWindowBits', mostWindowBits, leastWindowBits, mostWindowBits),
    clientMaxWindowBits: read.integer('clientMaxWindowBits', mostWindowBits, leastWindowBits, mostWindowBits),
  }
}
