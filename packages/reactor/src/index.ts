export { type CloseReason, type ErrorCode, errorCodes, MultireactorError } from '@multireactor/addon'
export type { ListenAddress } from './address.js'
export { Connection, type DeferredReply } from './connection.js'
export {
  type CustomFramer,
  custom,
  delimiter,
  type Framing,
  fixed,
  type LengthPrefixedOptions,
  lengthPrefixed,
  lines,
  raw,
} from './framing.js'
export type { ConnectionHandlers, ConnectionOptions, HandoverHandlers } from './handlers.js'
export type { SlowPolicy, SubscribeOptions } from './topics.js'
export { Reactor, type ReactorListener, type ReactorOptions, type ReactorStats } from './reactor.js'
