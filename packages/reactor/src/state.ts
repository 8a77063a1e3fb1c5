import { v8 } from './builtins.js'

/**
 * The data of a connection on its way to another thread, as bytes that the native side keeps meanwhile. What structured cloning
 * takes, except ports and shared memory; throws for anything else.
 */
export function encodeState(state: unknown): Uint8Array {
  return v8().serialize(state)
}

export function decodeState(bytes: Uint8Array): unknown {
  // A copy: what it holds would keep the whole slab.
  return v8().deserialize(Buffer.from(bytes))
}
