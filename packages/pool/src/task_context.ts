import type { Buffer } from 'node:buffer'
import { MultireactorError, shown } from '@multireactor/addon'
import type { RunningFrame } from './running_frame.js'

/** A string is sent as UTF-8. */
export type Bytes = string | Uint8Array
/** The result of a worker function, now or as a promise. `undefined`: no reply, the order goes on. */
export type Reply = Bytes | readonly Bytes[] | AsyncIterable<Bytes> | undefined | void

/** The frame of a worker function, and the calls that it has besides returning a reply. Valid until the reply is complete. */
export class TaskContext {
  readonly #frame: RunningFrame

  /** @internal Made for a frame when its work asks for it. */
  constructor(frame: RunningFrame) {
    this.#frame = frame
  }

  /** The id of the connection that the frame came from, for `server.send`. 0n-like and meaningless for `pool.run`. */
  get connection(): bigint {
    return this.#frame.connection
  }
  /** The name of the listener it came in by; `''` for `pool.run`. */
  get listener(): string {
    return this.#frame.listener.name
  }
  /** Whether that listener speaks TLS. */
  get encrypted(): boolean {
    return this.#frame.listener.encrypted
  }
  /** Undefined for Unix peers and for `pool.run`. */
  get remoteAddress(): string | undefined {
    return this.#frame.peer?.[0] || undefined
  }
  /** The peer's port; undefined for a Unix peer or a task without a connection. */
  get remotePort(): number | undefined {
    return this.#frame.peer?.[1] || undefined
  }
  /** The frame's number within its connection, from 0. */
  get sequence(): number {
    return this.#frame.sequence
  }
  /** How often a worker has died on this frame before; above 0 only with `onTaskLost: 'retry'`. */
  get attempt(): number {
    return this.#frame.attempt
  }
  /** Aborted when the frame runs out of time or its connection closes. */
  get signal(): AbortSignal {
    return this.#frame.signal
  }

  /**
   * Sends one part of the reply ahead of the returned one. Copied before the call returns; resolves when there is room for
   * more, so await it. Rejects with `ERR_MR_CONNECTION_CLOSED` when the connection is gone.
   */
  write(part: Bytes): Promise<void> {
    return this.#frame.write(part)
  }

  /** Memory for the results of the frame: `limits.memory` counts 4 KiB and more until it is collected. Not zeroed. */
  allocate(bytes: number): Buffer {
    return this.#frame.allocate(bytes)
  }

  /** Reports an error as if the work had failed with it, and leaves the reply alone. */
  reportError(error: unknown): void {
    this.#frame.report(error)
  }

  /** After this reply the connection closes in an orderly way. */
  end(): void {
    this.#frame.endAfter()
  }

  /** Closes the connection now. Later frames of it are not answered. */
  destroy(reason?: unknown): void {
    this.#frame.destroy(reason)
  }
}

export function isAsyncIterable(value: unknown): value is AsyncIterable<Bytes> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value
}

export function notAReply(value: unknown): MultireactorError {
  return new MultireactorError(
    'ERR_MR_PARSE_RESULT',
    `a reply must be a string, a Uint8Array, an array of those, an async iterable or undefined, and is ${shown(value)}`,
  )
}
