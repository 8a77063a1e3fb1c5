import type { ConnectionLink } from './connection_link.js'
import type { ExistingServerSide } from './stream.js'

/**
 * The `message` hook of a protocol: the frame is `length` bytes of the slab from `offset` on, and no buffer is made for it. Its
 * result does not matter.
 */
// biome-ignore lint/suspicious/noExplicitAny: the data of connections differs from listener to listener
export type MessageIn = (conn: ConnectionLink<any>, slab: Buffer, offset: number, length: number, info: number) => void

/** The side of the engine that apps of this repository's packages use beside hooks: how HTTP and existing servers reach it. */
export interface EngineSide {
  /** Comes before the hook `message`. */
  readonly messageIn?: MessageIn
  /** The reactor is about to close its connections, or (`boundOnly`) those that are bound to this thread: the last words to them. */
  readonly beforeDrain?: (boundOnly: boolean) => void
  /** The existing server behind the hooks; undefined until it has been made. */
  readonly existingServer?: ExistingServerSide | undefined
}

// A spread copy of an app keeps it.
const key = Symbol('multireactor.engineSide')

/** Gives an app, or the handlers of a listener, their side towards the engine. */
export function withEngineSide<Handlers extends object>(handlers: Handlers, side: EngineSide): Handlers {
  return Object.assign(handlers, { [key]: side })
}

/** The object that `withEngineSide` has given them. */
export function engineSideOf(handlers: object): EngineSide | undefined {
  return (handlers as { [key]?: EngineSide })[key]
}
