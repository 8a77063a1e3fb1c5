import { MultireactorError, toEnvelope } from './error.js'

/**
 * Serializes a value for another thread, in V8's own format: as `structuredClone`, without transferables, `SharedArrayBuffer` and objects that
 * belong to a thread. Throws `ERR_MR_DATA`, with the reason as its cause, for a value that cannot be copied: functions, symbols, streams.
 */
export function valueBytes(what: string, value: unknown): Buffer {
  try {
    return v8().serialize(value)
  } catch (cause) {
    throw new MultireactorError(
      'ERR_MR_DATA',
      `${what} cannot go to another thread: ${toEnvelope(cause).message.replace(/\.$/, '')}; hand over plain data, as structuredClone() takes it`,
      { cause },
    )
  }
}

/** The other side. Typed arrays in the value lie in the memory of `bytes` where that is aligned for them. Throws `ERR_MR_DATA`, too. */
export function valueFrom(bytes: Uint8Array): unknown {
  try {
    return v8().deserialize(bytes)
  } catch (cause) {
    // V8 writes some things that it does not read again, such as WebAssembly modules.
    throw new MultireactorError(
      'ERR_MR_DATA',
      `a value of runTask() cannot be read on this thread: ${toEnvelope(cause).message}; hand over plain data, as structuredClone() takes it`,
      { cause },
    )
  }
}

/** Few threads need it, and it takes a millisecond to load. */
const v8 = (): typeof import('node:v8') => process.getBuiltinModule('node:v8')
