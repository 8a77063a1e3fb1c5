export interface Reading {
  /** Chosen by the sender: a reading that is sent again is stored once. */
  id: string
  name: string
  value: number
  /** Milliseconds since 1970. */
  at: number
}

/** Halves of a pair are no characters: they cannot be stored, and all would become the same one. */
const loneSurrogate = /\p{Surrogate}/u

function isName(text: unknown): text is string {
  return typeof text === 'string' && text.length >= 1 && text.length <= 64 && !loneSurrogate.test(text)
}

/** The reading in a line; a string names the fault. */
export function readReading(line: string, now: number): Reading | string {
  let sent: unknown
  try {
    sent = JSON.parse(line)
  } catch {
    return 'a reading is a line of JSON'
  }
  if (typeof sent !== 'object' || sent === null) return 'a reading is an object'
  const { id, name, value, at = now } = sent as { [key: string]: unknown }
  if (!isName(id)) return 'id must have 1 to 64 characters'
  if (!isName(name)) return 'name must have 1 to 64 characters'
  if (typeof value !== 'number' || !Number.isFinite(value)) return 'value must be a number'
  if (typeof at !== 'number' || !Number.isSafeInteger(at) || at < 0) return 'at must be milliseconds since 1970'
  return { id, name, value, at }
}
