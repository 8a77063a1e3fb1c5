import { toEnvelope } from '@multireactor/addon'

const quietMs = 1_000
/** Kinds that are remembered; codes and names of errors come from the app. */
const mostKinds = 1_000
const mostKindLength = 200

/**
 * At most one line of the log a second for each kind of failure: failures that a peer can cause at will must not flood the log.
 * The rest is counted, and the next line of the kind says how many there were.
 */
export class ReportLimit {
  readonly #now: () => number
  readonly #kinds = new Map<string, { saidAt: number; unsaid: number }>()

  /** `now`: a clock in ms. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** The end of this failure's line, or undefined: no line yet. */
  admit(kind: string): string | undefined {
    const key = kind.slice(0, mostKindLength)
    const now = this.#now()
    const known = this.#kinds.get(key)
    if (known && now - known.saidAt < quietMs) {
      known.unsaid++
      return undefined
    }
    // The kinds lie in the order in which they were last said.
    this.#kinds.delete(key)
    if (this.#kinds.size === mostKinds) this.#kinds.delete(this.#kinds.keys().next().value!)
    this.#kinds.set(key, { saidAt: now, unsaid: 0 })
    if (!known || known.unsaid === 0) return ''
    return ` (and ${known.unsaid} more in the last ${Math.max(1, Math.round((now - known.saidAt) / 1000))} s)`
  }
}

/** The kind of a failed hook: the hook, its listener, and the code of the error or its class. */
export function kindOfFailure(error: unknown, hook: string, listener: string): string {
  const { code, name } = toEnvelope(error)
  return `${listener}\0${hook}\0${code ?? name}`
}
