// The retained messages: every reactor has all of them, and keeps the latest of each topic in whatever order they come.
import { setImmediate as turn } from 'node:timers/promises'
import { limits } from './limits.ts'
import type { Message } from './message.ts'
import { hasWildcard, matches } from './topics.ts'

/** For each topic, beside its name and payload. */
const entryBytes = 256
/** How long a topic that was cleared is remembered: a message that was made before may still be on its way. */
const clearedMs = 60_000
/** Topics that are looked at in one turn. */
const topicsATurn = 1_000

export class Retained {
  readonly #messages = new Map<string, Message>()
  /** When a topic was cleared, in the order of that. */
  readonly #cleared = new Map<string, bigint>()
  /** A client may clear topics that never had a message. */
  #clearedBytes = 0
  #bytes = 0

  /** False: there is no room for it. */
  hasRoom({ topic, payload }: Message): boolean {
    if (payload.length === 0) return true
    const before = this.#messages.get(topic)
    const grows = cost(topic, payload) - (before ? cost(topic, before.payload) : 0)
    return this.#bytes + grows <= limits.retainedBytes && (before !== undefined || this.#messages.size < limits.retained)
  }

  store(message: Message): void {
    const { topic, payload, madeAt } = message
    const before = this.#messages.get(topic)
    if (madeAt <= (before?.madeAt ?? this.#cleared.get(topic) ?? -1n)) return
    if (before) this.#bytes -= cost(topic, before.payload)
    if (payload.length === 0) {
      this.#messages.delete(topic)
      this.#forget(topic)
      this.#cleared.set(topic, madeAt)
      this.#clearedBytes += topic.length + entryBytes
      return this.#forgetCleared()
    }
    this.#forget(topic)
    this.#bytes += cost(topic, payload)
    // A copy: the payload is a part of a block that it would keep in memory.
    this.#messages.set(topic, { ...message, payload: Buffer.from(payload) })
  }

  /** Of the topics that it remembers as cleared. */
  get clearedBytes(): number {
    return this.#clearedBytes
  }

  all(): Iterable<Message> {
    return this.#messages.values()
  }

  /** Those of each filter, in portions: a client may ask for all of them many times. */
  async *matching(filters: readonly string[]): AsyncGenerator<Message> {
    let looked = 0
    for (const filter of filters) {
      if (!hasWildcard(filter)) {
        const message = this.#messages.get(filter)
        if (message) yield message
        continue
      }
      for (const message of this.#messages.values()) {
        if (++looked % topicsATurn === 0) await turn()
        if (matches(filter, message.topic)) yield message
      }
    }
  }

  #forgetCleared(): void {
    const oldest = process.hrtime.bigint() - BigInt(clearedMs) * 1_000_000n
    for (const [topic, at] of this.#cleared) {
      if (at >= oldest && this.#cleared.size <= limits.retained && this.#clearedBytes <= limits.retainedBytes) return
      this.#forget(topic)
    }
  }

  #forget(topic: string): void {
    if (this.#cleared.delete(topic)) this.#clearedBytes -= topic.length + entryBytes
  }
}

function cost(topic: string, payload: Buffer): number {
  return topic.length + payload.length + entryBytes
}
