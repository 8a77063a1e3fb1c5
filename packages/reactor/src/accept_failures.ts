import { util } from './builtins.js'
import { ReportLimit } from './report_limit.js'

/** Puts failed accepts into words: a listener tries again ten times a second, on each reactor. `stats()` has `acceptErrors`. */
export class AcceptFailures {
  readonly #limit = new ReportLimit()

  /** The log line for this failure, or undefined. */
  sentence(errno: number, listener: string): string | undefined {
    const more = this.#limit.admit(`${listener}\0accept`)
    if (more === undefined) return undefined
    return `listener ${listener} cannot accept: ${util().getSystemErrorName(-errno)}; trying again every 100 ms${more}`
  }
}
