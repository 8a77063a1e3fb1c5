import { framingKind, OptionReader, webSocketInfo as webSocketBits } from '@multireactor/addon'
import type { Framing } from './framing.js'

/** Facts about a frame of `webSocket()` for `message`, as bits of its `info`. */
export const webSocketInfo: {
  readonly opcode: number
  readonly fin: number
  /** No byte of the payload is above 0x7f. Not said of an empty one by all means. */
  readonly ascii: number
  /** RSV1: the message that begins is compressed. */
  readonly compressed: number
} = webSocketBits

export interface WebSocketFramingOptions {
  /** A whole message, of however many frames. Default 1 MiB. A longer one is malformed with code 1009. */
  maxMessageBytes?: number
  /** The time for one frame, in place of the listener's. Default 60,000; 0: for ever. */
  frameTimeoutMs?: number
  /**
   * permessage-deflate was agreed on: messages may be compressed, and have an eighth more than `maxMessageBytes` on the wire. The peer
   * inflates with a window of so many bits, 8 to 15. Default 0: a compressed message is malformed.
   */
  windowBits?: number
}

/**
 * The frames of WebSocket clients, checked strictly and unmasked. Only for a connection with a `message` hook, and by
 * `setFraming()`: the listener's idle limit does not hold for it.
 */
export function webSocket(options: WebSocketFramingOptions = {}): Framing {
  const read = new OptionReader('webSocket()', options, ['maxMessageBytes', 'frameTimeoutMs', 'windowBits'])
  return {
    native: {
      kind: framingKind.webSocket,
      maxBytes: read.integer('maxMessageBytes', 1 << 20, 1, 512 << 20),
      frameMs: read.integer('frameTimeoutMs', 60_000, 0, 0x7fff_ffff),
      windowBits: read.integer('windowBits', 0, 0, 15),
    },
  }
}
