import type { BadFrame } from '@multireactor/reactor'

// The numbers of addon/native/src/codec/resp.cc.
const words = new Map([
  [1, 'invalid multibulk length'],
  [2, 'invalid bulk length'],
  [3, 'too big inline request'],
  [4, 'unbalanced quotes in request'],
])
const wrongType = 0x100

/**
 * The fault of a `resp()` frame, in the words of redis-server, for the `badFrame` hook: `Protocol error: invalid bulk length`. The reply is this
 * text behind `ERR `.
 */
export function protocolError({ reason, code }: BadFrame): string {
  if (code >= wrongType) return `Protocol error: expected '$', got '${String.fromCharCode(code - wrongType)}'`
  const fallback = reason === 'frame-timeout' ? 'timeout' : reason === 'malformed-frame' ? 'no command' : 'too big request'
  return `Protocol error: ${words.get(code) ?? fallback}`
}
