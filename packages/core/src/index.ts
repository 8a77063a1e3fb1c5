export {
  type BadFrame,
  type BalanceContext,
  type CloseReason,
  type ClientHandlers,
  type ConnectionHandlers,
  type ConnectOptions,
  type ConnectTarget,
  type ConnectionOptions,
  Connection,
  type CustomFramer,
  custom,
  type DeferredReply,
  delimiter,
  type ErrorCode,
  errorCodes,
  type Framing,
  type FreshPeer,
  fixed,
  type Http1Options,
  http1,
  http1Info,
  type LengthPrefixedOptions,
  type ListenAddress,
  lengthPrefixed,
  lines,
  MultireactorError,
  type ProxyEndpoint,
  type ProxyHeaderOptions,
  proxyHeader,
  type ReactorHandle,
  raw,
  type SlowPolicy,
  type SubscribeOptions,
} from '@multireactor/reactor'
export type { RunMode } from '@multireactor/addon'
export type { Bytes, Replaced, Reply, TaskContext } from '@multireactor/pool'
export { type App, type CallContext, defineApp, type StartContext } from './app.js'
export type { ControlSettings } from './control.js'
export type { PinChoice, PinSettings } from './pin.js'
export type { ReactorReplaced } from './reactor_group.js'
export type { BalancePolicy } from '@multireactor/addon'
export type { Logger, PoolSettings, ServeAddress, ServeOptions } from './options.js'
export { type CloseResult, Server, type ServerEvents, type ServerListener, type ServerStats, serve } from './server.js'
export { prometheusContentType, prometheusText } from './prometheus.js'
export type { ThreadStats } from './stats.js'
export { type CallOptions, type SendOutcome, ThreadServer } from './thread_server.js'
