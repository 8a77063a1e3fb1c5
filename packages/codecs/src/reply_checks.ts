import { mostBytesOf, MultireactorError, shown } from '@multireactor/addon'

/** A promise or a generator would write when the bytes have left. */
export function refuseDeferred(name: string, result: unknown): void {
  if (result === null || (typeof result !== 'object' && typeof result !== 'function')) return
  const { then, next } = result as { then?: unknown; next?: unknown }
  if (typeof then !== 'function' && typeof next !== 'function') return
  // The caller gets its outcome here, not once more as an unhandled rejection.
  if (typeof then === 'function') then.call(result, undefined, () => {})
  throw new MultireactorError(
    'ERR_MR_REPLY_WRITER',
    `${name}(): the callback returned a ${typeof then === 'function' ? 'promise' : 'generator'}, and has to write before it returns`,
  )
}

/**
 * Bytes of a view. The length that the view reports may be larger than its memory, and the rest would be old bytes of the buffer: an earlier
 * reply.
 */
export function lengthIn(call: string, value: unknown): number {
  if (typeof value === 'string') return value.length
  const length = mostBytesOf(value)
  if (length >= 0) return length
  throw new MultireactorError('ERR_MR_DATA', `${call}: must be a string or Uint8Array, and is ${shown(value)}`)
}

export function checkText(call: string, text: unknown): string {
  if (typeof text === 'string') return text
  throw new MultireactorError('ERR_MR_DATA', `${call}: must be a string, and is ${shown(text)}`)
}

export function noLonger(): MultireactorError {
  return new MultireactorError(
    'ERR_MR_REPLY_WRITER',
    'a reply writer ends when its callback returns: this one writes nothing any more',
  )
}

export function checkDouble(value: unknown): void {
  if (typeof value === 'number') return
  throw new MultireactorError('ERR_MR_OPTION_RANGE', `double(): must be a number, and is ${shown(value)}`)
}

export function checkCount(count: number): void {
  if (Number.isSafeInteger(count) && count >= 0) return
  throw new MultireactorError('ERR_MR_OPTION_RANGE', `a reply cannot have ${count} elements`)
}
