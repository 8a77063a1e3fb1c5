/** What the runtime builds on, for the thread of a reactor. Not part of the public interface: it may change in any release. */
export { beforeDrain, Engine, type EngineEvents, type InlineFrames, type MessageIn, messageIn } from './engine.js'
export { webSocket, webSocketInfo } from './websocket_framing.js'
export { ReactorHandle } from './handle.js'
