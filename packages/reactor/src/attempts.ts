import {
  type Context,
  inOurClass,
  type NativeListener,
  type NativeReactorDriver,
  type NativeTarget,
  toEnvelope,
} from '@multireactor/addon'
import { util } from './builtins.js'
import type { ConnectionLink } from './connection_link.js'
import type { EngineListener } from './engine_listener.js'

/** How an attempt to connect ends: with a connection, an errno's name, or the error of the `open` hook. */
// biome-ignore lint/suspicious/noExplicitAny: `open` decides
export type ConnectResult = ConnectionLink<any> | string | Error

/** An attempt to connect that is under way. */
export interface Attempt {
  /** Its number. */
  request: number
  readonly listener: EngineListener
  /** In which the hooks of the connection run. */
  readonly context: Context
  /** Called once, and not after `cancelConnect`. */
  readonly ended: (result: ConnectResult) => void
}

/** The attempts to connect of one reactor, by their numbers. */
export class Attempts {
  readonly #driver: NativeReactorDriver
  /** By number, each in a box that is emptied: see `take`. */
  readonly #all = new Map<number, { attempt: Attempt | undefined }>()

  constructor(driver: NativeReactorDriver) {
    this.#driver = driver
  }

  /** Begins one, for at most `timeoutMs`. The errno's name when it has failed at once: ECANCELED also when the thread has ended. */
  begin(
    target: NativeTarget,
    local: NativeTarget | undefined,
    client: NativeListener,
    timeoutMs: number,
    attempt: Attempt,
  ): string | undefined {
    const request = inOurClass(() => this.#driver.connect(target, local, client, timeoutMs)) ?? 'ECANCELED'
    if (typeof request === 'string') return request
    attempt.request = request
    this.#all.set(request, { attempt })
    return undefined
  }

  cancel(request: number): void {
    this.take(request)
    this.#driver.cancelConnect(request)
  }

  get(request: number): Attempt | undefined {
    return this.#all.get(request)?.attempt
  }

  /**
   * It is over. Nothing when it was cancelled. A Map that grows leaves its old table behind, as it was, with a pointer to the new one: once the
   * collector of the young has taken a dead table for an old one, all that it and those behind it hold stay until the heap is marked. So
   * they hold empty boxes.
   */
  take(request: number): Attempt | undefined {
    const box = this.#all.get(request)
    if (!box) return undefined
    const { attempt } = box
    box.attempt = undefined
    this.#all.delete(request)
    return attempt
  }

  failed(request: number, errno: number): void {
    this.take(request)?.ended(util().getSystemErrorName(-errno))
  }

  /** The reactor drives no more: pending attempts fail. */
  end(): void {
    const all = [...this.#all.values()]
    this.#all.clear()
    for (const { attempt } of all) attempt?.ended('ECANCELED')
  }
}

/** The thrown value of an `open` hook, as an error. */
export function asError(error: unknown): Error {
  try {
    if (error instanceof Error) return error
  } catch {
    // A Proxy may throw even there.
  }
  return new Error(toEnvelope(error).message)
}
