import { Buffer } from 'node:buffer'
/** The data of a whole chunked body, whose chunks the native framer has checked. */
export function joinChunks(bytes: Buffer): Buffer {
  const parts: Buffer[] = []
  let at = 0
  for (;;) {
    const end = bytes.indexOf('\r\n', at, 'latin1')
    // Behind a `;` stand extensions, which parseInt does not read.
    const length = Number.parseInt(bytes.toString('latin1', at, end), 16)
    if (length === 0) return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
    parts.push(bytes.subarray(end + 2, end + 2 + length))
    at = end + 2 + length + 2
  }
}
