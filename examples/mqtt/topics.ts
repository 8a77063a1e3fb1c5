// Topic filters that are granted, and which topics they match.

/**
 * `$share/…` and other filters that begin with `$` are not granted: one broker for each reactor cannot hand each message to one of a group, and
 * the `$SYS` topics of a broker name its clients. `$SYS/reactors/…` is ours.
 */
export function isGranted(filter: string): boolean {
  return !filter.startsWith('$') || filter.startsWith('$SYS/reactors/')
}

/** As in section 4.7 of MQTT 3.1.1. The filter is valid. */
export function matches(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && !filter.startsWith('$')) return false
  const levels = topic.split('/')
  const words = filter.split('/')
  for (const [i, word] of words.entries()) {
    if (word === '#') return true
    if (i === levels.length || (word !== '+' && word !== levels[i])) return false
  }
  return words.length === levels.length
}

export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#')
}

interface Node<Value> {
  values: Set<Value> | undefined
  children: Map<string, Node<Value>> | undefined
}

/** Values by filter. `match` visits no node twice, so it costs at most as much as there are filters. */
export class FilterTree<Value> {
  readonly #root: Node<Value> = { values: undefined, children: undefined }

  add(filter: string, value: Value): void {
    let node = this.#root
    for (const word of filter.split('/')) {
      node.children ??= new Map()
      let child = node.children.get(word)
      if (!child) {
        child = { values: undefined, children: undefined }
        node.children.set(word, child)
      }
      node = child
    }
    node.values ??= new Set()
    node.values.add(value)
  }

  remove(filter: string, value: Value): void {
    this.#remove(this.#root, filter.split('/'), 0, value)
  }

  match(topic: string): Value[] {
    const found: Value[] = []
    this.#match(this.#root, topic.split('/'), 0, found, topic.startsWith('$'))
    return found
  }

  #remove(node: Node<Value>, words: string[], at: number, value: Value): void {
    if (at === words.length) {
      node.values?.delete(value)
      return
    }
    const child = node.children?.get(words[at]!)
    if (!child) return
    this.#remove(child, words, at + 1, value)
    if (!child.values?.size && !child.children?.size) node.children!.delete(words[at]!)
  }

  #match(node: Node<Value>, levels: string[], at: number, found: Value[], isReserved: boolean): void {
    const some = isReserved && at === 0 ? undefined : node.children?.get('#')
    if (some?.values) found.push(...some.values)
    if (at === levels.length) {
      if (node.values) found.push(...node.values)
      return
    }
    const word = node.children?.get(levels[at]!)
    if (word) this.#match(word, levels, at + 1, found, isReserved)
    const one = isReserved && at === 0 ? undefined : node.children?.get('+')
    if (one && one !== word) this.#match(one, levels, at + 1, found, isReserved)
  }
}
