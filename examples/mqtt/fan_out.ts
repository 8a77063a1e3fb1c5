// Sends the publications of this reactor's clients to the other reactors. At most `limits.fanOutBytes` are on their way to each of them.
import type { ServerHandle } from 'multireactor'
import { limits } from './limits.ts'
import { decodeAll, encodeAll, type Message } from './message.ts'

const headBytes = 16
/** Of one call. */
const batchBytes = 1 << 20

const asPublications = 0
const asQuestion = 1

/** The kind of a call: it asks for the retained messages, or has publications. */
export function isQuestion(bytes: Buffer): boolean {
  return bytes[0] === asQuestion
}

export function publications(bytes: Buffer): Iterable<Message> {
  return decodeAll(bytes.subarray(1))
}

interface Waiting {
  message: Message
  bytes: number
  resolve: () => void
  reject: (error: unknown) => void
}

/** The way to one other reactor. Messages arrive in the order in which they were sent. */
class Link {
  readonly #server: ServerHandle
  readonly #reactor: number
  readonly #waiting: Waiting[] = []
  #onTheWay = 0
  #isAsked = false

  constructor(server: ServerHandle, reactor: number) {
    this.#server = server
    this.#reactor = reactor
  }

  /** Resolves when the other reactor has it. */
  send(message: Message): Promise<void> {
    const bytes = headBytes + message.topic.length + message.payload.length
    return new Promise((resolve, reject) => {
      this.#waiting.push({ message, bytes, resolve, reject })
      if (this.#isAsked) return
      this.#isAsked = true
      // Further publications of this turn go along.
      queueMicrotask(() => {
        this.#isAsked = false
        this.#goOn()
      })
    })
  }

  #goOn(): void {
    while (this.#waiting.length > 0) {
      let count = 0
      let bytes = 0
      for (const waiting of this.#waiting) {
        if (count > 0 && bytes + waiting.bytes > batchBytes) break
        bytes += waiting.bytes
        count++
      }
      if (this.#onTheWay > 0 && this.#onTheWay + bytes > limits.fanOutBytes) return
      void this.#call(this.#waiting.splice(0, count), bytes)
    }
  }

  async #call(batch: Waiting[], bytes: number): Promise<void> {
    this.#onTheWay += bytes
    try {
      const messages = batch.map(({ message }) => message)
      await this.#server.call(this.#reactor, encodeAll(messages, Buffer.from([asPublications])))
      for (const { resolve } of batch) resolve()
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
    this.#onTheWay -= bytes
    this.#goOn()
  }
}

export class FanOut {
  readonly #server: ServerHandle
  readonly #here: number
  readonly #links: Link[] = []

  constructor(server: ServerHandle, here: number) {
    this.#server = server
    this.#here = here
  }

  /** Resolves when all other reactors have it; undefined: there is none. */
  tell(message: Message): Promise<unknown> | undefined {
    const { reactors } = this.#server
    if (reactors < 2) return undefined
    const told: Promise<void>[] = []
    for (let reactor = 0; reactor < reactors; reactor++) {
      if (reactor === this.#here) continue
      this.#links[reactor] ??= new Link(this.#server, reactor)
      told.push(this.#links[reactor]!.send(message))
    }
    return Promise.all(told)
  }

  /** The retained messages of the others, which a thread that begins without any takes over. */
  async *retained(): AsyncGenerator<Message> {
    for (let reactor = 0; reactor < this.#server.reactors; reactor++) {
      if (reactor === this.#here) continue
      yield* decodeAll(await this.#server.call(reactor, Uint8Array.of(asQuestion)))
    }
  }
}
