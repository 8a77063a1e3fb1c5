export { type CloseReason, type ErrorCode, errorCodes, MultireactorError } from '@multireactor/addon'
export type { ListenAddress } from './address.js'
export type { BalanceContext, BalanceHandlers, FreshPeer } from './balance.js'
export type { ConnectOptions, ConnectTarget } from './connect.js'
export { Connection, type DeferredReply, type TlsInfo } from './connection.js'
export { ConnectionDuplex, type DuplexOptions } from './duplex.js'
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
export { SecureDuplex } from './secure_duplex.js'
export { ReactorHandle } from './handle.js'
export type { BadFrame, ClientHandlers, ConnectionHandlers, ConnectionOptions, HandoverHandlers } from './handlers.js'
export { type ProxyEndpoint, proxyHeader, type ProxyHeaderOptions } from './proxy_header.js'
export type { SlowPolicy, SubscribeOptions } from './topics.js'
export { type AttachOptions, attach, type AttachHandlers, type ExistingServer } from './existing_server.js'
export type { ListenTls, TlsCertificate } from './tls_options.js'
export { Reactor, type ReactorListener, type ReactorOptions, type ReactorStats } from './reactor.js'
