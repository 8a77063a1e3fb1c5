import { closedError, MultireactorError, type NativePort, native, sendOutcomes, shown } from '@multireactor/addon'

import { readStats, type ThreadStats } from './stats.js'

export type SendOutcome = (typeof sendOutcomes)[number]

/** A server, as any thread can reach it: made by `serve()`, given to `start`, or attached to by its token. */
export class ThreadServer {
  /** Give it to your own threads: `ThreadServer.attach(token)` there. */
  readonly token: number
  readonly #port: NativePort
  readonly #waiting = new Map<number, (outcome: SendOutcome) => void>()
  #closed = false

  private constructor(runtime: number) {
    this.token = runtime
    this.#port = new native.Port(
      runtime,
      (request, outcome) => {
        const resolve = this.#waiting.get(request)
        this.#waiting.delete(request)
        if (this.#waiting.size === 0) this.#port.setReferenced(false)
        resolve?.(sendOutcomes[outcome]!)
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
    // A thread with nothing else to do must live to hear the outcome.
    if (this.#waiting.size === 0) this.#port.setReferenced(true)
    return new Promise((resolve) => this.#waiting.set(request, resolve))
  }

  /** Counters of all threads of the server. Never waits. Throws `ERR_MR_CLOSED` when the server has closed. */
  stats(): ThreadStats {
    if (this.#closed) throw closedError('the server')
    return readStats(this.token)
  }

  /** Pending sends resolve to `'gone'`. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#port.close()
    for (const resolve of this.#waiting.values()) resolve('gone')
    this.#waiting.clear()
  }
}
