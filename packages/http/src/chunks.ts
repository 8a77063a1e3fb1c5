import { Buffer } from 'node:buffer'

const lineFeed = 10

/** The data of a whole chunked body, whose chunks the native framer has checked. `allocate`: memory for more than one chunk. */
export function joinChunks(bytes: Buffer, allocate: (bytes: number) => Buffer): Buffer {
  const [length, chunks] = measure(bytes)
  if (chunks === 0) return Buffer.alloc(0)
  if (chunks === 1) {
    const start = bytes.indexOf(lineFeed) + 1
    return bytes.subarray(start, start + length)
  }
  // Not a list of the chunks: the peer chooses how many there are, and each would be an object.
  const joined = allocate(length)
  let filled = 0
  eachChunk(bytes, (start, end) => {
    filled += bytes.copy(joined, filled, start, end)
  })
  return joined
}

function measure(bytes: Buffer): [length: number, chunks: number] {
  let length = 0
  let chunks = 0
  eachChunk(bytes, (start, end) => {
    length += end - start
    chunks++
  })
  return [length, chunks]
}

function eachChunk(bytes: Buffer, each: (start: number, end: number) => void): void {
  for (let at = 0; ; ) {
    let size = 0
    // Behind a `;` stand extensions, and before it there may be spaces.
    for (let digit = hexDigit(bytes[at]!); digit >= 0; digit = hexDigit(bytes[++at]!)) size = size * 16 + digit
    if (size === 0) return
    const start = bytes.indexOf(lineFeed, at) + 1
    each(start, start + size)
    at = start + size + 2
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}
