import { MultireactorError } from './error.js'

// Own properties, because Node-API has no detach key. `postMessage` and `structuredClone` refuse or copy such memory by themselves.
const refusesTransfer = {
  value: (): never => {
    throw new MultireactorError(
      'ERR_MR_DATA',
      'transfer(): other frames lie in the memory of this one, and the reactor may still receive into it: transfer a copy, such as Uint8Array.from(frame).buffer',
    )
  },
}
const transfers = { transfer: refusesTransfer, transferToFixedLength: refusesTransfer }

/**
 * Memory for received bytes that user code may see but not detach. Frames of several connections lie in it: without this
 * `frame.buffer.transfer()` (Node 21 on) would take the bytes of all of them away, and the memory that is received into.
 */
export function undetachable(memory: ArrayBuffer): ArrayBuffer {
  return Object.defineProperties(memory, transfers)
}
