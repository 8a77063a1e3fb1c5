import { callOutcome, isBytes, MultireactorError, type NativeReactorDriver, shown, toEnvelope } from '@multireactor/addon'

/** Of a call, and of its result. */
export const mostCallBytes: number = 16 << 20

/** The result of an `onCall` hook, as bytes. */
export function callResult(value: unknown): string | Uint8Array {
  if (value === undefined) return ''
  if (!isBytes(value)) {
    throw new MultireactorError('ERR_MR_DATA', `onCall(): the result must be a string or Uint8Array, and is ${shown(value)}`)
  }
  checkCallSize('the result of onCall()', value)
  return value
}

export function checkCallSize(what: string, bytes: string | Uint8Array): void {
  if (bytes.length <= mostCallBytes / 3) return
  const size = typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length
  if (size <= mostCallBytes) return
  throw new MultireactorError('ERR_MR_CALL_TOO_LARGE', `${what} has ${size} bytes, and may have ${mostCallBytes}`)
}

/** Runs the hook for a call of another thread, and answers with its outcome: every call is answered once. */
export function answerCall(
  driver: NativeReactorDriver,
  number: number,
  onCall: ((bytes: Buffer) => unknown) | undefined,
  bytes: Buffer,
): void {
  if (!onCall) return void driver.answerCall(number, callOutcome.noHook, '')
  const failed = (error: unknown): void => {
    driver.answerCall(number, callOutcome.failed, JSON.stringify(toEnvelope(error)))
  }
  const done = (value: unknown): void => {
    try {
      driver.answerCall(number, callOutcome.answered, callResult(value))
    } catch (error) {
      failed(error)
    }
  }
  try {
    const result = onCall(bytes)
    if (typeof (result as PromiseLike<unknown> | undefined)?.then === 'function') {
      ;(result as PromiseLike<unknown>).then(done, failed)
    } else done(result)
  } catch (error) {
    failed(error)
  }
}
