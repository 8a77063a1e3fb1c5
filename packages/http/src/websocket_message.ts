import { OptionReader } from '@multireactor/addon'
import { addDeflatedForm } from '@multireactor/reactor/parts'
import { type DeflateOptions, readDeflateOptions } from './deflate_options.js'
import { bytesOf, Deflation } from './deflation.js'
import { checkMessage, opOf, plainMessage } from './websocket_frames.js'

/** Options of `webSocketMessage()`. */
export interface WebSocketMessageOptions {
  /**
   * Compresses the message, at once and on this thread, for subscribers that have agreed on it; the others get it as it is. Only for
   * `publish`, and only on the thread that has made it. Default false.
   */
  deflate?: boolean | DeflateOptions
}

/**
 * The bytes of one message as a server sends it, the same for every peer: for `server.publish` and `server.send`. A string is
 * a text message, bytes are a binary one. Throws `ERR_MR_DATA`.
 */
export function webSocketMessage(data: string | Uint8Array, options: WebSocketMessageOptions = {}): Buffer {
  checkMessage('webSocketMessage()', data)
  const read = new OptionReader('webSocketMessage()', options, ['deflate'])
  const deflate = readDeflateOptions('webSocketMessage().deflate', read.raw('deflate'))
  const message = plainMessage(data)
  if (deflate) addDeflated(message, data, new Deflation(deflate))
  return message
}

function addDeflated(message: Buffer, data: string | Uint8Array, deflation: Deflation): void {
  const bytes = bytesOf(data)
  if (!deflation.suits(bytes.length, deflation.limits.serverMaxWindowBits)) return
  const form = deflation.formNow(opOf(data), bytes)
  if (form) addDeflatedForm(message, form)
}
