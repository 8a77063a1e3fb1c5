import { MultireactorError, shown } from '@multireactor/addon'

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
export function isToken(text: string): boolean {
  return token.test(text)
}

const forbidden = /[^\t\x20-\x7e\x80-\xff]/

/** The name of a field in lower case, as fields are looked up. Throws `ERR_MR_HTTP` if it is not a string. */
export function lowerName(call: string, name: unknown): string {
  if (typeof name === 'string') return name.toLowerCase()
  throw new MultireactorError('ERR_MR_HTTP', `${call}: a field name must be a string, and is ${shown(name)}`)
}

/** Throws `ERR_MR_HTTP` for characters that would end the field, or begin another one. */
export function checkField(name: string, value: unknown): asserts value is string | number {
  if (typeof value !== 'string' && typeof value !== 'number') {
    throw new MultireactorError('ERR_MR_HTTP', `the value of ${shown(name)} must be a string or a number, and is ${shown(value)}`)
  }
  if (!token.test(name)) {
    throw new MultireactorError('ERR_MR_HTTP', `a field name must be a token of RFC 9110, and is ${shown(name)}`)
  }
  if (typeof value === 'string' && forbidden.test(value)) {
    throw new MultireactorError('ERR_MR_HTTP', `the value of ${name} must not have control bytes or characters above U+00FF`)
  }
}

/** The fields of a head that is known to be well-formed, by their names in lower case, as `node:http` gives them. */
export function parseFields(head: string): Record<string, string> {
  const fields = Object.create(null) as Record<string, string>
  let at = head.indexOf('\r\n') + 2
  for (;;) {
    const end = head.indexOf('\r\n', at)
    if (end <= at) return fields
    const colon = head.indexOf(':', at)
    const name = head.slice(at, colon).toLowerCase()
    const value = head.slice(colon + 1, end).trim()
    const before = fields[name]
    // Lists may come in several lines; of other fields the first counts, as in Node.
    if (before === undefined) fields[name] = value
    else if (name === 'cookie') fields[name] = `${before}; ${value}`
    else if (!singles.has(name)) fields[name] = `${before}, ${value}`
    at = end + 2
  }
}

const singles = new Set([
  'age',
  'authorization',
  'content-type',
  'etag',
  'expires',
  'from',
  'if-modified-since',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'referer',
  'retry-after',
  'server',
  'user-agent',
])
