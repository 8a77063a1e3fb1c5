/** How a client puts messages on the wire, and finds the replies on it. */
export interface Wire {
  encode(message: Buffer): Buffer
  /** The replies that are complete with these bytes. Throws when no reply can begin like this. */
  take(chunk: Buffer): Buffer[]
  /** The bytes left when the peer has ended: a last reply, or nothing. */
  rest(): Buffer | undefined
  /** Bytes are replies as they come: how many there will be is not known. */
  readonly isStream: boolean
}

/** A reply that is larger fails: a client for trying things out does not fill the memory. */
const mostReplyBytes = 64 << 20

export const lengthTypes = ['u8', 'u16be', 'u16le', 'u32be', 'u32le', 'u64be', 'varint'] as const
export type LengthType = (typeof lengthTypes)[number]

/** Received bytes without a complete reply. */
class Pending {
  #chunks: Buffer[] = []
  #bytes = 0

  /** All of them, as one. */
  with(chunk: Buffer): Buffer {
    if (this.#bytes === 0) return chunk
    return Buffer.concat([...this.#chunks, chunk])
  }

  keep(bytes: Buffer): void {
    this.#chunks = bytes.length === 0 ? [] : [bytes]
    this.#bytes = bytes.length
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes > mostReplyBytes) throw new Error(`a reply of more than ${mostReplyBytes} bytes`)
  }

  get bytes(): number {
    return this.#bytes
  }

  get all(): Buffer {
    return Buffer.concat(this.#chunks)
  }
}

export function rawWire(): Wire {
  return { isStream: true, encode: (message) => message, take: (chunk) => [chunk], rest: () => undefined }
}

/** Messages and replies end with the delimiter. Without `keepsReturn` the `\r` of `\r\n` is not part of a reply. */
export function delimitedWire(delimiter: Buffer, keepsReturn = true): Wire {
  const pending = new Pending()
  const trimmed = (line: Buffer): Buffer => (!keepsReturn && line.at(-1) === 0x0d ? line.subarray(0, -1) : line)
  return {
    isStream: false,
    encode: (message) => Buffer.concat([message, delimiter]),
    take(chunk) {
      // A delimiter of several bytes may have begun in the bytes before.
      if (delimiter.length === 1 && !chunk.includes(delimiter)) {
        pending.add(chunk)
        return []
      }
      const bytes = pending.with(chunk)
      const replies: Buffer[] = []
      let from = 0
      for (let at = bytes.indexOf(delimiter); at >= 0; at = bytes.indexOf(delimiter, from)) {
        replies.push(trimmed(bytes.subarray(from, at)))
        from = at + delimiter.length
      }
      pending.keep(Buffer.alloc(0))
      if (from < bytes.length) pending.add(bytes.subarray(from))
      return replies
    },
    rest: () => (pending.bytes === 0 ? undefined : trimmed(pending.all)),
  }
}

export function fixedWire(size: number): Wire {
  return sizedWire(
    (message) => {
      if (message.length !== size) throw new Error(`each message has ${size} bytes with --fixed, and one has ${message.length}`)
      return message
    },
    () => ({ head: 0, bytes: size }),
  )
}

/** Frames behind their length, as `lengthPrefixed({ type })` reads them. */
export function framedWire(type: LengthType): Wire {
  return sizedWire(
    (message) => Buffer.concat([lengthOf(type, message.length), message]),
    (bytes) => headOf(type, bytes),
  )
}

function sizedWire(
  encode: (message: Buffer) => Buffer,
  headOfReply: (bytes: Buffer) => { head: number; bytes: number } | undefined,
): Wire {
  const pending = new Pending()
  let wanted = 0
  return {
    isStream: false,
    encode,
    take(chunk) {
      pending.add(chunk)
      if (pending.bytes < wanted) return []
      const bytes = pending.all
      const replies: Buffer[] = []
      let from = 0
      for (;;) {
        const next = headOfReply(bytes.subarray(from))
        wanted = next === undefined ? bytes.length - from + 1 : next.head + next.bytes
        if (wanted > mostReplyBytes) throw new Error(`a reply of ${wanted} bytes, which is more than ${mostReplyBytes}`)
        if (next === undefined || bytes.length - from < wanted) break
        replies.push(bytes.subarray(from + next.head, from + wanted))
        from += wanted
      }
      pending.keep(bytes.subarray(from))
      return replies
    },
    rest() {
      if (pending.bytes > 0) throw new Error(`the server ended within a reply, ${pending.bytes} bytes after its beginning`)
      return undefined
    },
  }
}

function lengthOf(type: LengthType, bytes: number): Buffer {
  if (type === 'varint') {
    const digits: number[] = []
    for (let left = bytes; ; left = Math.floor(left / 128)) {
      digits.push(left > 127 ? (left % 128) | 128 : left)
      if (left <= 127) return Buffer.from(digits)
    }
  }
  const size = sizes[type]
  if (bytes >= 2 ** (8 * size)) throw new Error(`a message of ${bytes} bytes is too long for a length of ${size} bytes`)
  const head = Buffer.alloc(size)
  if (size === 8) head.writeBigUInt64BE(BigInt(bytes))
  else if (type.endsWith('le')) head.writeUIntLE(bytes, 0, size)
  else head.writeUIntBE(bytes, 0, size)
  return head
}

const sizes = { u8: 1, u16be: 2, u16le: 2, u32be: 4, u32le: 4, u64be: 8 } as const

function headOf(type: LengthType, bytes: Buffer): { head: number; bytes: number } | undefined {
  if (type === 'varint') {
    let value = 0
    for (let i = 0; i < bytes.length; i++) {
      if (i === 7) throw new Error('a length of more than 7 bytes')
      value += (bytes[i]! & 127) * 128 ** i
      if (bytes[i]! < 128) return { head: i + 1, bytes: value }
    }
    return undefined
  }
  const head = sizes[type]
  if (bytes.length < head) return undefined
  if (head === 8) return { head, bytes: Number(bytes.readBigUInt64BE()) }
  return { head, bytes: type.endsWith('le') ? bytes.readUIntLE(0, head) : bytes.readUIntBE(0, head) }
}
