import { closedError, MultireactorError, type NativePort, native, sendOutcomes, shown } from '@multireactor/addon'
import { checkPublication } from '@multireactor/reactor/app'

import { readStats, type ThreadStats } from './stats.js'

export type SendOutcome = (typeof sendOutcomes)[number]

/** A server, as any thread can reach it: made by `serve()`, given to `start`, or attached to by its token. */
export class ThreadServer {
  /** Give it to your own threads: `ThreadServer.attach(token)` there. */
  readonly token: number
  readonly #port: NativePort
  /** Sends, answered with an index of `sendOutcomes`, and publications, answered with a number of subscribers. */
  readonly #waiting = new Map<number, { isSend: boolean; resolve: (outcome: number) => void }>()
  #closed = false

  private constructor(runtime: number) {
    this.token = runtime
    this.#port = new native.Port(
      runtime,
      (request, outcome) => {
        const waiting = this.#waiting.get(request)
        if (!waiting) return
        this.#waiting.delete(request)
        if (this.#waiting.size === 0) this.#port.setReferenced(false)
        waiting.resolve(outcome)
      },
      () => {},
      () => {},
    )
    this.#port.setReferenced(false)
  }

  /** Any thread of the process. Throws `ERR_MR_CLOSED` when there is no such server. Close it when done. */
  static attach(token: number): ThreadServer {
    return new ThreadServer(token)
  }

  /**
   * Sends bytes to a connection, whichever reactor owns it; they go between two replies. Resolves to `'sent'` (the kernel has
   * them), `'buffered'` (the peer is slow), `'gone'` (it has closed) or `'full'` (refused:
   * the peer is so slow that it has been closed, or too much lies in its reactor's mailbox).
   */
  send(id: bigint, data: string | Uint8Array): Promise<SendOutcome> {
    if (this.#closed) return Promise.reject(closedError('the server'))
    if (typeof id !== 'bigint')
      return Promise.reject(
        new MultireactorError('ERR_MR_DATA', `send(): the id must be the bigint of conn.id, and is ${shown(id)}`),
      )
    if (typeof data !== 'string' && !(data instanceof Uint8Array)) {
      return Promise.reject(
        new MultireactorError('ERR_MR_DATA', `send(): the data must be a string or Uint8Array, and is ${shown(data)}`),
      )
    }
    const request = this.#port.send(id, data)
    if (request === -1) return Promise.resolve('gone')
    if (request === -2) return Promise.resolve('full')
    return this.#outcome(request, true).then((outcome) => sendOutcomes[outcome]!)
  }

  /**
   * Sends bytes to every connection of the server that has subscribed to `topic`, on whatever reactor; they go between two replies.
   * Copied once, before the call returns. Every subscriber sees the publications of a topic in the same order. Resolves to the number of
   * subscribers that it was sent to, or waits for; `'full'`: refused, since 64 MiB of publications wait for a reactor that does not come
   * to them. Rejects with `ERR_MR_TOPIC`, `ERR_MR_DATA` and `ERR_MR_CLOSED`.
   */
  publish(topic: string, data: string | Uint8Array): Promise<number | 'full'> {
    try {
      if (this.#closed) throw closedError('the server')
      checkPublication('publish()', topic, data)
    } catch (error) {
      return Promise.reject(error)
    }
    const request = this.#port.publish(topic, data)
    if (request === -1) return Promise.resolve(0)
    if (request === -2) return Promise.resolve('full')
    return this.#outcome(request, false)
  }

  #outcome(request: number, isSend: boolean): Promise<number> {
    // A thread with nothing else to do must live to hear the outcome.
    if (this.#waiting.size === 0) this.#port.setReferenced(true)
    return new Promise((resolve) => this.#waiting.set(request, { isSend, resolve }))
  }

  /** Counters of all threads of the server. Never waits. Throws `ERR_MR_CLOSED` when the server has closed. */
  stats(): ThreadStats {
    if (this.#closed) throw closedError('the server')
    return readStats(this.token)
  }

  /** Pending sends resolve to `'gone'`, pending publications to 0. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#port.close()
    for (const { isSend, resolve } of this.#waiting.values()) resolve(isSend ? sendOutcomes.indexOf('gone') : 0)
    this.#waiting.clear()
  }
}
