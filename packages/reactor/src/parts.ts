/** What the runtime builds on, for the thread of a reactor. Not part of the public interface: it may change in any release. */
export { Engine, type EngineEvents, type InlineFrames } from './engine.js'
export { beforeDrain, type MessageIn, messageIn } from './engine_listener.js'
export { webSocket, webSocketInfo } from './websocket_framing.js'
export { type Allocate, GrowingBytes, smallPiece, WaitingBytes } from './waiting_bytes.js'
export { ignorable } from './connection.js'
export { addDeflatedForm, type Deflated } from './deflated_forms.js'
export { ReactorHandle } from './handle.js'
export { checkTopic } from './topics.js'
