import { v8 } from './builtins.js'

/**
 * The data of a connection on its way to another thread, as bytes that the native side keeps meanwhile. Takes the values of structured
 * cloning, except ports and shared memory; throws for anything else.
 */
export function encodeState(state: unknown): Uint8Array {
  return v8().serialize(state)
}

export function decodeState(bytes: Uint8Array): unknown {
  // A copy: its values would keep the whole slab.
  return v8().deserialize(Buffer.from(bytes))
}
