import { BroadcastChannel, threadId } from 'node:worker_threads'

export const severities = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug', 'unknown'] as const

interface Report {
  thread: number
  counts: number[]
  lost: number
}

const channel = 'collector counts'

/** How many messages this thread has parsed, by severity, and how many records it has lost. It tells the others, a few times a second. */
export class Counts {
  static readonly #everyMs = 200
  readonly #counts = severities.map(() => 0)
  #lost = 0
  #channel: BroadcastChannel | undefined
  #timer: NodeJS.Timeout | undefined

  add(severity: number | undefined): void {
    const index = severity ?? severities.indexOf('unknown')
    this.#counts[index]!++
    this.#tellSoon()
  }

  lose(records: number): void {
    this.#lost += records
    this.#tellSoon()
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#channel?.close()
  }

  #tellSoon(): void {
    this.#timer ??= setTimeout(() => this.#tell(), Counts.#everyMs)
  }

  #tell(): void {
    this.#timer = undefined
    this.#channel ??= unreferenced()
    this.#channel.postMessage({ thread: threadId, counts: this.#counts, lost: this.#lost } satisfies Report)
  }
}

/** The sum over all threads. Threads that are gone stay in it. */
export class CountsOfAll {
  readonly #latest = new Map<number, Report>()
  readonly #channel = unreferenced()

  constructor() {
    this.#channel.onmessage = (event) => {
      const { data } = event as { data: Report }
      this.#latest.set(data.thread, data)
    }
  }

  sum(index: number): number {
    let sum = 0
    for (const { counts } of this.#latest.values()) sum += counts[index]!
    return sum
  }

  get lost(): number {
    let sum = 0
    for (const { lost } of this.#latest.values()) sum += lost
    return sum
  }

  close(): void {
    this.#channel.close()
  }
}

function unreferenced(): BroadcastChannel {
  const one = new BroadcastChannel(channel)
  one.unref()
  return one
}
