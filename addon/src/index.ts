import { load } from './load.js'
import type { Native } from './native.js'

export { type Context, contexts, currentContext, runFresh } from './contexts.js'
export { bufferOf, isBytes, lengthOf, mostBytesOf, readLatin1, writeLatin1, writeUtf8 } from './buffers.js'
export {
  closedError,
  type ErrorEnvelope,
  errorCodes,
  MultireactorError,
  failureFromEnvelope,
  inOurClass,
  toEnvelope,
  type ErrorCode,
} from './error.js'
export { load } from './load.js'
export * from './native.js'
export * from './wire.js'
export * as wire from './wire.js'
export { outliveOutput } from './output.js'
export { causedByPeer, isPeersDoing } from './peers_doing.js'
export { undetachable } from './slab.js'
export { valueBytes, valueFrom } from './values.js'
export { didYouMean, OptionReader, shown } from './options.js'

/** The native module of this process. Loaded with the package, so that a missing build is said at the start. */
export const native: Native = load() as Native
