import { mostBytesOf, MultireactorError, shown } from '@multireactor/addon'
import { isFraming } from './is_framing.js'

export function streamed(call: string): MultireactorError {
  return new MultireactorError('ERR_MR_STATE', `${call}: toDuplex() was called: use the stream`)
}

export function ended(call: string): MultireactorError {
  return new MultireactorError('ERR_MR_CONNECTION_CLOSED', `${call}: end() was called, and nothing can follow it`)
}

export function noSuchReactor(reactor: unknown): MultireactorError {
  return new MultireactorError(
    'ERR_MR_OPTION_RANGE',
    `moveTo(): must be the number of a running reactor of this server, and is ${shown(reactor)}`,
  )
}

export function checkFraming(framing: unknown): void {
  if (isFraming(framing)) return
  throw new MultireactorError('ERR_MR_OPTION_TYPE', `setFraming(): must be a framing such as lines(), and is ${shown(framing)}`)
}

/** How many bytes it has at most: `mostBytesOf`. */
export function checkBytes(call: string, data: unknown): number {
  const most = mostBytesOf(data)
  if (most >= 0) return most
  throw new MultireactorError('ERR_MR_DATA', `${call}: the data must be a string or Uint8Array, and is ${shown(data)}`)
}

export function checkBoolean(call: string, name: string, value: unknown): void {
  if (typeof value === 'boolean') return
  throw new MultireactorError('ERR_MR_OPTION_TYPE', `${call}: '${name}' must be true or false, and is ${shown(value)}`)
}

export function checkOptions(call: string, options: unknown, example = ''): void {
  if (options === undefined || (typeof options === 'object' && options !== null)) return
  throw new MultireactorError('ERR_MR_OPTION_TYPE', `${call}: the options must be an object${example}, and are ${shown(options)}`)
}

export function checkNumber(call: string, name: string, value: unknown): void {
  if (typeof value === 'number') return
  throw new MultireactorError('ERR_MR_OPTION_TYPE', `${call}: '${name}' must be a number, and is ${shown(value)}`)
}
