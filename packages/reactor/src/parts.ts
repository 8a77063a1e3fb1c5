/** What the runtime builds on. Not part of the public interface: it may change in any release. */
export { AcceptFailures } from './accept_failures.js'
export { addressOptionNames, type OpenListener, openControl, openListener } from './address.js'
export { Engine, type EngineEvents, type InlineFrames, type MessageIn, messageIn } from './engine.js'
export { ReactorHandle } from './handle.js'
export { isFraming } from './framing.js'
export { connectionOptionNames, handoverHookNames, hookNames } from './handlers.js'
export { checkPublication } from './publication.js'
export { InheritedSockets } from './inherited.js'
