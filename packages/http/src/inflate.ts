import { constants, inflateRaw, inflateRawSync, type ZlibOptions } from 'node:zlib'

/**
 * What the sender of a message has left out (RFC 7692, section 7.2.2), and a last block of nothing behind it: zlib says whether it has
 * come to that, and so whether the message was whole.
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

interface Result {
  buffer: Buffer
  engine: { bytesWritten: number }
}

/** One message on its way to what it was, stream by stream. */
class Inflation {
  #rest: Buffer
  readonly #most: number
  readonly #parts: Buffer[] = []
  #length = 0
  #streams = 0

  constructor(payload: Uint8Array, most: number) {
    this.#rest = Buffer.concat([payload, tail])
    this.#most = most
  }

  get input(): Buffer {
    return this.#rest
  }

  /** zlib makes chunk after chunk, and gives up behind the one with which there is more than may come: the chunks end right there. */
  get options(): ZlibOptions {
    const left = Math.max(this.#most - this.#length, 1)
    const chunks = Math.ceil((left + 1) / Math.min(Math.max(this.#rest.length * 8, leastChunk), mostChunk))
    const chunkSize = Math.max(Math.ceil((left + 1) / chunks), zlibsLeastChunk)
    const options: ZlibOptions = { maxOutputLength: left, chunkSize, info: true } as ZlibOptions
    if (this.#length > 0) options.dictionary = Buffer.concat(this.#parts).subarray(-windowBytes)
    return options
  }

  /** What has come of the stream at hand. Undefined: another one follows. */
  take({ buffer, engine }: Result): Inflated | undefined {
    this.#length += buffer.length
    if (this.#length > this.#most) return 'too-large'
    this.#parts.push(buffer)
    this.#rest = this.#rest.subarray(engine.bytesWritten)
    if (this.#rest.length === 0 || this.#rest.equals(tail)) return this.#whole()
    return ++this.#streams === mostStreams ? 'broken' : undefined
  }

  #whole(): Buffer {
    return this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
  }
}

/** What a compressed message was, at most `most` bytes. */
export function inflateNow(payload: Uint8Array, most: number): Inflated {
  const inflation = new Inflation(payload, most)
  // What some senders make of a message of nothing.
  if (payload.length === 0) return Buffer.alloc(0)
  for (;;) {
    try {
      const inflated = inflation.take(inflateRawSync(inflation.input, inflation.options) as unknown as Result)
      if (inflated) return inflated
    } catch (error) {
      return failure(error)
    }
  }
}

/** The same on another thread. Rejects for want of memory only. */
export async function inflateLater(payload: Uint8Array, most: number): Promise<Inflated> {
  const inflation = new Inflation(payload, most)
  for (;;) {
    try {
      const result = await new Promise<Result>((resolve, reject) => {
        inflateRaw(inflation.input, inflation.options, (error, result) => {
          if (error) reject(error)
          else resolve(result as unknown as Result)
        })
      })
      const inflated = inflation.take(result)
      if (inflated) return inflated
    } catch (error) {
      return failure(error)
    }
  }
}

function failure(error: unknown): Inflated {
  const { code, errno } = error as { code?: string; errno?: number }
  if (code === 'ERR_BUFFER_TOO_LARGE') return 'too-large'
  if (errno === constants.Z_DATA_ERROR || errno === constants.Z_BUF_ERROR) return 'broken'
  throw error
}
