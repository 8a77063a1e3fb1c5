export type {
  BadFrame,
  BalanceContext,
  ClientHandlers,
  ConnectionHandlers,
  ConnectionOptions,
  ConnectOptions,
  ConnectTarget,
  FreshPeer,
  ListenAddress,
  ListenTls,
  ReactorHandle,
  SlowPolicy,
  SubscribeOptions,
} from '@multireactor/reactor'
// Every app module imports this package, in every thread: serve() loads the parts that only the main thread needs.
export { attach, type AttachedServer, type AttachHooks } from './attach.js'
export {
  type CloseReason,
  Connection,
  type DeferredReply,
  type ErrorCode,
  errorCodes,
  MultireactorError,
  type ProxyEndpoint,
  type ProxyHeaderOptions,
  proxyHeader,
} from '@multireactor/reactor/app'
export * from '@multireactor/reactor/framing'
export type { RunMode } from '@multireactor/addon'
export type { Bytes, WorkerReplaced, Reply, TaskContext } from '@multireactor/pool'
export { type App, type CallContext, defineApp, type StartContext } from './app.js'
export type { AdminSettings } from './admin_options.js'
export type { ControlSettings } from './control.js'
export type { PinChoice, PinSettings } from './pin.js'
export type { ReactorReplaced } from './reactor_group_options.js'
export type { BalancePolicy } from '@multireactor/addon'
export type { Logger } from './logger.js'
export type { PoolSettings, ServeAddress, ServeOptions } from './options.js'
export type { Server } from './server.js'
export type { CloseResult, ServerEvents, ServerListener, ServerStats } from './server_types.js'
export { prometheusContentType, prometheusText } from './prometheus.js'
export type { ThreadStats } from './stats.js'
export { serve } from './serve.js'
export { handleSignals, type SignalOptions } from './signals.js'
export { type CallOptions, type RunOptions, type SendOutcome, ServerHandle } from './server_handle.js'
