import type { CustomFramer } from 'multireactor'

/** Octet counting (RFC 6587): `40 <13>…` is a message of 40 bytes behind a number and a space. */
export const cutOctets: CustomFramer = (unread) => {
  const space = unread.subarray(0, 8).indexOf(0x20)
  if (space === -1) {
    if (unread.length < 8) return undefined
    throw new Error('a message must begin with its length')
  }
  const length = unread.toString('latin1', 0, space)
  if (!/^[1-9]\d*$/.test(length)) throw new Error('a message must begin with its length')
  const end = space + 1 + Number(length)
  return end > unread.length ? { needed: end } : { consumed: end, frame: unread.subarray(space + 1, end) }
}
