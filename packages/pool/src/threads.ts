import type { WorkerOptions } from 'node:worker_threads'
import { closedError } from '@multireactor/addon'
import { Thread } from './thread.js'

/**
 * All threads that their owner has made, also those that are still starting and have no place yet: none of them outlives the owner,
 * at any point of its work.
 */
export class Threads {
  readonly #living = new Set<Thread>()
  readonly #startTimeoutMs: number
  #ended = false

  /** One that has not started within the time is ended. */
  constructor(startTimeoutMs: number) {
    this.#startTimeoutMs = startTimeoutMs
  }

  /** Throws `ERR_MR_CLOSED` after `terminate()`. */
  spawn(entry: URL, options: WorkerOptions, onEvent: (name: string, value: unknown) => void): Thread {
    if (this.#ended) throw closedError('the group of threads')
    const thread = new Thread(entry, options, onEvent, this.#startTimeoutMs)
    this.#living.add(thread)
    void thread.exited.then(() => this.#living.delete(thread))
    return thread
  }

  /** Ends every one that lives; from now on there are no more. */
  async terminate(): Promise<void> {
    this.#ended = true
    await Promise.all([...this.#living].map((thread) => thread.terminate()))
  }
}
