import { isUtf8 } from 'node:buffer'
import { MultireactorError, shown } from '@multireactor/addon'

/** The codes that are made here (RFC 6455, section 7.4.1). `none` and `abnormal` are never sent. */
export const closeCode = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  none: 1005,
  abnormal: 1006,
  badText: 1007,
  policy: 1008,
  tooBig: 1009,
  internalError: 1011,
  restart: 1012,
} as const

const mostReasonBytes = 123

export interface CloseWords {
  code: number
  reason: string
}

/** Reads a Close frame; returns a code if it must be refused with this code. */
export function readClose(payload: Buffer): CloseWords | number {
  if (payload.length === 0) return { code: closeCode.none, reason: '' }
  if (payload.length === 1) return closeCode.protocolError
  const code = payload.readUInt16BE(0)
  if (!mayBeSent(code)) return closeCode.protocolError
  const reason = payload.subarray(2)
  return isUtf8(reason) ? { code, reason: reason.toString() } : closeCode.badText
}

/** The payload of a Close frame; `none` has none. */
export function closePayload(code: number, reason: string): Buffer {
  if (code === closeCode.none) return Buffer.alloc(0)
  const payload = Buffer.allocUnsafe(2 + Buffer.byteLength(reason))
  payload.writeUInt16BE(code, 0)
  payload.write(reason, 2)
  return payload
}

/** Checks the code and the reason of an app's close. Throws `ERR_MR_OPTION_RANGE` and `ERR_MR_OPTION_TYPE`. */
export function checkClose(code: unknown, reason: unknown): void {
  if (typeof code !== 'number' || !mayBeSent(code)) {
    throw new MultireactorError(
      'ERR_MR_OPTION_RANGE',
      `close(): the code must be one of RFC 6455 that may be sent (1000 to 1014 without 1004 to 1006), or of 3000 to 4999, and is ${shown(code)}`,
    )
  }
  if (typeof reason !== 'string') {
    throw new MultireactorError('ERR_MR_OPTION_TYPE', `close(): the reason must be a string, and is ${shown(reason)}`)
  }
  const bytes = Buffer.byteLength(reason)
  if (bytes > mostReasonBytes) {
    throw new MultireactorError(
      'ERR_MR_OPTION_RANGE',
      `close(): the reason may have ${mostReasonBytes} bytes, the room of a control frame, and has ${bytes}`,
    )
  }
}

function mayBeSent(code: number): boolean {
  if (!Number.isInteger(code)) return false
  if (code >= 3000) return code <= 4999
  return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)
}
