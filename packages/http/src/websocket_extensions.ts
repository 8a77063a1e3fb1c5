/** One element of `Sec-WebSocket-Extensions`. */
export interface Extension {
  name: string
  /** In their order, also when a name comes twice. Undefined: the parameter has no value. */
  parameters: [name: string, value: string | undefined][]
}

const space = /[ \t]*/y
const tokens = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y
/** Whose value must be a token, too (RFC 6455, section 9.1), so that it needs no escapes but may have them. */
const quoted = /"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]|\\[!#$%&'*+\-.^_`|~0-9A-Za-z])+)"/y

/** The elements of the field, in their order; undefined when it does not have the form of RFC 6455, section 9.1. */
export function parseExtensions(field: string): Extension[] | undefined {
  let at = 0
  const take = (form: RegExp): RegExpExecArray | null => {
    form.lastIndex = at
    const found = form.exec(field)
    if (found) at = form.lastIndex
    return found
  }
  const skip = (character: string): boolean => {
    take(space)
    if (field[at] !== character) return false
    at++
    take(space)
    return true
  }
  const extensions: Extension[] = []
  take(space)
  while (at < field.length) {
    // Elements of a list may be empty (RFC 9110, section 5.6.1).
    if (skip(',')) continue
    const name = take(tokens)
    if (!name) return undefined
    const extension: Extension = { name: name[0], parameters: [] }
    while (skip(';')) {
      const parameter = take(tokens)
      if (!parameter) return undefined
      if (!skip('=')) {
        extension.parameters.push([parameter[0], undefined])
        continue
      }
      const value = take(tokens)?.[0] ?? take(quoted)?.[1]?.replaceAll('\\', '')
      if (value === undefined) return undefined
      extension.parameters.push([parameter[0], value])
    }
    extensions.push(extension)
    if (at < field.length && !skip(',')) return undefined
  }
  return extensions.length === 0 ? undefined : extensions
}
