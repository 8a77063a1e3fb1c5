import { isReadable } from './buffers.js'
import { MultireactorError } from './error.js'

/**
 * The checks of every option object, in one place, so that each refusal has the same form: the fault, the value, the expected value, and the
 * nearest right name.
 */
export class OptionReader {
  readonly #where: string
  readonly #values: Record<string, unknown>

  /**
   * `where` names the call, as in `serve()`, and `forms` all that may be given, where that is more than options. Throws
   * `ERR_MR_UNKNOWN_OPTION` for a name that is not in `known`.
   */
  constructor(where: string, values: unknown, known: readonly string[], forms?: string) {
    this.#where = where
    if (values === undefined) values = {}
    if (typeof values !== 'object' || values === null || Array.isArray(values)) {
      const what = forms === undefined ? 'the options must be an object, and are' : `must be ${forms}, and is`
      throw new MultireactorError('ERR_MR_OPTION_TYPE', `${where}: ${what} ${shown(values)}`)
    }
    this.#values = values as Record<string, unknown>
    for (const name of Object.keys(values)) {
      if (!known.includes(name)) {
        throw new MultireactorError('ERR_MR_UNKNOWN_OPTION', `${where}: unknown option '${name}'${didYouMean(name, known)}`)
      }
    }
  }

  /** A whole number in [least, most]; `fallback` when it is absent. */
  integer(name: string, fallback: number, least: number, most: number): number {
    const value = this.#values[name]
    if (value === undefined) return fallback
    if (typeof value !== 'number') this.#wrongType(name, value, 'a number')
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new MultireactorError(
        'ERR_MR_OPTION_RANGE',
        `${this.#where}: '${name}' must be a whole number from ${least} to ${most}, and is ${shown(value)}`,
      )
    }
    return value
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.#values[name]
    if (value === undefined) return fallback
    if (typeof value !== 'boolean') this.#wrongType(name, value, 'true or false')
    return value
  }

  string(name: string): string | undefined {
    const value = this.#values[name]
    if (value === undefined) return undefined
    if (typeof value !== 'string' || value === '') this.#wrongType(name, value, 'a string that is not empty')
    return value
  }

  oneOf<T extends string>(name: string, fallback: T, choices: readonly T[]): T {
    const value = this.#values[name]
    if (value === undefined) return fallback
    if (typeof value !== 'string' || !(choices as readonly string[]).includes(value)) {
      const hint = typeof value === 'string' ? didYouMean(value, choices) : ''
      throw new MultireactorError(
        'ERR_MR_OPTION_RANGE',
        `${this.#where}: '${name}' must be ${choices.map((c) => `'${c}'`).join(' or ')}, and is ${shown(value)}${hint}`,
      )
    }
    return value as T
  }

  func<T>(name: string): T | undefined {
    const value = this.#values[name]
    if (value === undefined) return undefined
    if (typeof value !== 'function') this.#wrongType(name, value, 'a function')
    return value as T
  }

  signal(): AbortSignal | undefined {
    const value = this.#values['signal']
    if (value === undefined) return undefined
    if (!(value instanceof AbortSignal)) this.#wrongType('signal', value, 'an AbortSignal')
    return value
  }

  raw(name: string): unknown {
    return this.#values[name]
  }

  #wrongType(name: string, value: unknown, expected: string): never {
    throw new MultireactorError('ERR_MR_OPTION_TYPE', `${this.#where}: '${name}' must be ${expected}, and is ${shown(value)}`)
  }
}

/** A value as an error message shows it: short, and with its type where the type is the fault. Never throws. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  if (value === null || typeof value !== 'object') return typeof value === 'function' ? 'a function' : `${String(value)}`
  try {
    if (value instanceof Uint8Array && !isReadable(value)) {
      return 'a Uint8Array without memory (it was transferred or resized, or a WebAssembly memory grew): copy such bytes in time'
    }
    return Array.isArray(value) ? 'an array' : `an object (${value.constructor?.name ?? 'Object'})`
  } catch {
    return 'an object that cannot be described'
  }
}

/** Names of an earlier version; see CHANGELOG.md. */
const newNames = new Map([
  ['called', { name: 'onCall', unit: '' }],
  ['resume', { name: 'restore', unit: '' }],
  // 60 seconds, taken over as 60, would be valid.
  ['keepAliveSeconds', { name: 'keepAliveMs', unit: ', in milliseconds' }],
])

/** `, did you mean 'port'?`, the new name of an old one, or all that are known when none is near. */
export function didYouMean(word: string, known: readonly string[]): string {
  const renamed = newNames.get(word)
  if (renamed !== undefined && known.includes(renamed.name)) return `: it is '${renamed.name}' now${renamed.unit}`
  let best = ''
  let least = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of known) {
    // A unit that was left out is no typing error, and longer than one.
    const short = candidate.replace(/(Ms|Bytes)$/, '')
    const distance = Math.min(...[candidate, short].map((name) => editDistance(word.toLowerCase(), name.toLowerCase())))
    if (distance < least) {
      least = distance
      best = candidate
    }
  }
  return best === '' ? ` (known: ${known.join(', ')})` : `, did you mean '${best}'?`
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + same))
    }
    row = next
  }
  return row[b.length]!
}
