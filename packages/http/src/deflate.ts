import { constants, deflateRaw, deflateRawSync, type ZlibOptions } from 'node:zlib'

/** An empty block, which a receiver puts back (RFC 7692, section 7.2.1). */
const tailBytes = 4
/** How far back zlib looks at most is its window without so much. */
const lookahead = 262
// With 8 zlib would take 9.
const leastZlibBits = 9
const mostZlibBits = 15
const mostMemLevel = 8
/** zlib adds fewer bytes than this to data that it cannot shorten. */
const mostAdded = 64
const mostChunk = 64 << 10

/** Compresses a message, without any context of others, for a window of so many bits. */
export function deflateNow(bytes: Uint8Array, windowBits: number, level: number): Buffer {
  return withoutTail(deflateRawSync(bytes, optionsFor(bytes.length, windowBits, level)))
}

/** The same on another thread. Rejects for want of memory only. */
export function deflateLater(bytes: Uint8Array, windowBits: number, level: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    deflateRaw(bytes, optionsFor(bytes.length, windowBits, level), (error, deflated) => {
      if (error) reject(error)
      else resolve(withoutTail(deflated))
    })
  })
}

/** zlib's memory for a message that is smaller than its window is smaller, too, and making it costs less. */
function optionsFor(length: number, windowBits: number, level: number): ZlibOptions {
  const bits = Math.max(Math.min(Math.ceil(Math.log2(length + lookahead)), windowBits, mostZlibBits), leastZlibBits)
  // By default each call takes 16 or 64 KiB for its output, and a short message would keep them until the collector comes.
  const chunkSize = Math.min(length + (length >> 8) + mostAdded, mostChunk)
  return { level, windowBits: bits, memLevel: Math.min(bits - 5, mostMemLevel), chunkSize, finishFlush: constants.Z_SYNC_FLUSH }
}

function withoutTail(deflated: Buffer): Buffer {
  return deflated.subarray(0, deflated.length - tailBytes)
}
