import { BroadcastChannel } from 'node:worker_threads'
import { RpcError } from './protocol.ts'

interface Cancellation {
  connection: bigint
  id: number
}

/**
 * A cancel comes to the reactor that has the connection; the call runs in some worker, or waits for one. So all threads are told.
 * A thread remembers the cancels of calls that it does not run: they may still come.
 */
export class Cancellations {
  static readonly #mostHeard = 10_000
  readonly #channel = new BroadcastChannel('rpc cancellations')
  readonly #running = new Map<string, AbortController>()
  readonly #heard = new Set<string>()

  constructor() {
    this.#channel.onmessage = (event) => this.#hear((event as { data: Cancellation }).data)
    // It does not keep a thread alive that has nothing else to do.
    this.#channel.unref()
  }

  /** On a reactor. */
  tell(connection: bigint, id: number): void {
    this.#channel.postMessage({ connection, id } satisfies Cancellation)
  }

  /** On a worker: runs `work` with a signal that aborts for a cancel, too. */
  async run<T>(connection: bigint, id: number, outer: AbortSignal, work: (signal: AbortSignal) => T | Promise<T>): Promise<T> {
    const key = `${connection}/${id}`
    const own = new AbortController()
    if (this.#heard.delete(key)) own.abort(cancelled())
    this.#running.set(key, own)
    const signal = AbortSignal.any([own.signal, outer])
    try {
      signal.throwIfAborted()
      return await work(signal)
    } finally {
      this.#running.delete(key)
    }
  }

  close(): void {
    this.#channel.close()
  }

  #hear({ connection, id }: Cancellation): void {
    const key = `${connection}/${id}`
    const running = this.#running.get(key)
    if (running) return running.abort(cancelled())
    this.#heard.add(key)
    if (this.#heard.size <= Cancellations.#mostHeard) return
    const [oldest] = this.#heard
    this.#heard.delete(oldest!)
  }
}

function cancelled(): RpcError {
  return new RpcError('cancelled', 'the caller has cancelled it')
}
