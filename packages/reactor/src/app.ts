/** What an app module needs of this package, in every thread, and nothing else. Not part of the public interface. */
export { type CloseReason, type ErrorCode, errorCodes, MultireactorError } from '@multireactor/addon'
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
  isFraming,
  type LengthPrefixedOptions,
  lengthPrefixed,
  lines,
  raw,
} from './framing.js'
export { type ProxyEndpoint, type ProxyHeaderOptions, proxyHeader } from './proxy_header.js'
export { deflatedFormOf } from './deflated_forms.js'
export { checkPublication } from './publication.js'
export { connectionOptionNames, handoverHookNames, hookNames } from './handlers.js'
export { callResult, checkCallSize } from './calls.js'
export { checkBytes } from './call_checks.js'
export { runFailure } from './pool_runs.js'
export { type AttachOptions, hooksFor, ServerFace, type ExistingServer } from './existing_server.js'
export { engineSideOf, withEngineSide } from './engine_side.js'
export type { ExistingServerSide, ServerPlace } from './stream.js'
