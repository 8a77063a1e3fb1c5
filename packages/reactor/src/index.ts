export { type CloseReason, type ErrorCode, errorCodes, MultireactorError } from '@multireactor/addon'
export type { ListenAddress } from './address.js'
export type { BalanceContext, BalanceHandlers, FreshPeer } from './balance.js'
export { Connection, type DeferredReply } from './connection.js'
export {
  type CustomFramer,
  custom,
  delimiter,
  type Framing,
  fixed,
  type Http1Options,
  http1,
  http1Info,
  type LengthPrefixedOptions,
  lengthPrefixed,
  lines,
  raw,
} from './framing.js'
export type { BadFrame, ConnectionHandlers, ConnectionOptions, HandoverHandlers } from './handlers.js'
export type { SlowPolicy, SubscribeOptions } from './topics.js'
export { Reactor, type ReactorListener, type ReactorOptions, type ReactorStats } from './reactor.js'
