import { constants, createInflateRaw, inflateRawSync, type ZlibOptions } from 'node:zlib'
import { type Allocate, GrowingBytes } from '@multireactor/reactor/parts'

/**
 * The four bytes that the sender of a message omits (RFC 7692, section 7.2.2), and an empty last block: when zlib reaches it, the message was
 * whole.
 */
const tail = Buffer.from([0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff])
/** A message may be made of several streams, each ended by a last block. More of them than this are only there to cost something. */
const mostStreams = 16
const windowBytes = 32 << 10
const zlibsLeastChunk = 64
const leastChunk = 1 << 10
const mostChunk = 16 << 10

/** Bytes on the wire that a compressed message may have at most. The same as `mostCompressed` of the framing. */
export function mostCompressed(maxMessageBytes: number): number {
  return maxMessageBytes + Math.floor(maxMessageBytes / 8) + 64
}

export type Inflated = Buffer | 'too-large' | 'broken'

/** The streams of one message, one after the other. */
class Streams {
  /** Bytes that are not inflated yet. */
  rest: Buffer
  #count = 0

  constructor(payload: Uint8Array) {
    this.rest = Buffer.concat([payload, tail])
  }

  /** So many bytes of the rest were one stream. Undefined: another one follows. */
  take(bytes: number): 'whole' | 'broken' | undefined {
    this.rest = this.rest.subarray(bytes)
    if (this.rest.length === 0 || this.rest.equals(tail)) return 'whole'
    return ++this.#count === mostStreams ? 'broken' : undefined
  }
}

/** zlib makes chunk after chunk. The last one that is asked for ends right behind the limit, so that zlib never makes more. */
function chunkFor(input: number, left: number): number {
  const chunks = Math.ceil((left + 1) / Math.min(Math.max(input * 8, leastChunk), mostChunk))
  return Math.max(Math.ceil((left + 1) / chunks), zlibsLeastChunk)
}

/** The window that a further stream goes on with. */
function withWindow(options: ZlibOptions, before: Buffer): ZlibOptions {
  return before.length === 0 ? options : { ...options, dictionary: before.subarray(-windowBytes) }
}

/** Inflates a compressed message, to at most `most` bytes. */
export function inflateNow(payload: Uint8Array, most: number): Inflated {
  let inflated: Buffer = Buffer.alloc(0)
  // Some senders send an empty message so.
  if (payload.length === 0) return inflated
  const streams = new Streams(payload)
  for (;;) {
    const left = most - inflated.length
    const options = { maxOutputLength: Math.max(left, 1), chunkSize: chunkFor(streams.rest.length, left), info: true }
    try {
      // Its types know nothing of `info`.
      const { buffer, engine } = inflateRawSync(streams.rest, withWindow(options, inflated)) as unknown as {
        buffer: Buffer
        engine: { bytesWritten: number }
      }
      if (buffer.length > left) return 'too-large'
      inflated = inflated.length === 0 ? buffer : Buffer.concat([inflated, buffer])
      const end = streams.take(engine.bytesWritten)
      if (end) return end === 'whole' ? inflated : end
    } catch (error) {
      return failure(error)
    }
  }
}

export interface InflateTarget {
  /** At most so many bytes. */
  most: number
  /** Memory that counts while it grows. */
  allocate: Allocate
  /** False: the message is not needed any more, and it resolves to `'too-large'` soon. */
  isWanted(): boolean
}

/** The same on another thread. Rejects when there is no memory. */
export async function inflateLater(payload: Uint8Array, target: InflateTarget): Promise<Inflated> {
  const inflated = new GrowingBytes(target.allocate, target.most)
  const streams = new Streams(payload)
  for (;;) {
    try {
      const taken = await inflateStream(streams.rest, target, inflated)
      if (taken === undefined) return 'too-large'
      const end = streams.take(taken)
      if (end) return end === 'whole' ? inflated.bytes : end
    } catch (error) {
      return failure(error)
    }
  }
}

/** Resolves to how many bytes of the input were one stream. Undefined: the message is too large, or not needed any more. */
function inflateStream(input: Buffer, target: InflateTarget, inflated: GrowingBytes): Promise<number | undefined> {
  const before = inflated.bytes
  let left = target.most - before.length
  const stream = createInflateRaw(withWindow({ chunkSize: chunkFor(input.length, left) }, before))
  return new Promise((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => {
      left -= chunk.length
      try {
        if (left >= 0 && target.isWanted()) return inflated.push(chunk)
        resolve(undefined)
      } catch (error) {
        reject(error)
      }
      stream.destroy()
    })
    stream.on('end', () => resolve(stream.bytesWritten))
    stream.on('error', reject)
    stream.end(input)
  })
}

function failure(error: unknown): Inflated {
  const { code, errno } = error as { code?: string; errno?: number }
  if (code === 'ERR_BUFFER_TOO_LARGE') return 'too-large'
  if (errno === constants.Z_DATA_ERROR || errno === constants.Z_BUF_ERROR) return 'broken'
  throw error
}
