import type { Framing } from './framing.js'

/** Whether it was made by one of the functions of `framing.ts`, or of a package beside this one. */
export function isFraming(value: unknown): value is Framing {
  if (typeof value !== 'object' || value === null || !('native' in value)) return false
  return typeof value.native === 'object' && value.native !== null
}
