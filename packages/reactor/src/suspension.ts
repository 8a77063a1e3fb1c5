import { contexts, MultireactorError, type NativeReactorDriver, toEnvelope } from '@multireactor/addon'
import type { ConnectionContexts } from './connection_contexts.js'
import type { ConnectionLink } from './connection_link.js'
import type { EngineListener } from './engine_listener.js'
import type { SecureLayer } from './secure_layer.js'
import { encodeState } from './state.js'
import { clearTimeout, setImmediate, setTimeout } from './timers.js'

/** So long fresh connections wait for the next thread in the hope that this one has only busy connections, */
const mostBusyMs = 250
/** and so long before the time is over idle ones are ended. */
const mostLastMs = 2_500

/** The part of the engine that it uses. */
export interface SuspensionHost {
  readonly driver: NativeReactorDriver
  // biome-ignore lint/suspicious/noExplicitAny: the data of connections differs from listener to listener
  readonly connections: readonly (ConnectionLink<any> | undefined)[]
  readonly listeners: readonly EngineListener[]
  /** The connections that a stream of this thread owns. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly streams: Set<ConnectionLink<any>>
  /** TLS of connections, by slot. */
  readonly layers: readonly (SecureLayer | undefined)[]
  readonly contexts: ConnectionContexts
  layerCount(): number
  report(error: unknown, hook: string, listener: string): void
  /** Calls the hooks of connections that have closed since the last turn. */
  hearLast(): void
  close(): void
}

/** How a thread leaves its reactor: state bound to the thread ends, and the data of the other connections is kept for the next one. */
export class Suspension {
  readonly #host: SuspensionHost
  #closing = false
  #onQuiet: (() => void) | undefined
  /** Something that is bound to this thread has closed. */
  #onBoundClosed: (() => void) | undefined
  /** Streams and layers that were there when the thread began to leave, and still are. */
  #early: Set<unknown> | undefined

  constructor(host: SuspensionHost) {
    this.#host = host
  }

  /** No hook is pending any more. */
  quiet(): void {
    this.#onQuiet?.()
  }

  /** A stream or a layer has gone. */
  gone(bound: unknown): void {
    this.#early?.delete(bound)
  }

  /** A connection has closed, with its state bound to this thread. */
  closed(): void {
    this.#onBoundClosed?.()
  }

  /** The first connection whose data cannot go to another thread, or nothing. Runs no hook. */
  unclonable(): Error | undefined {
    for (const conn of this.#host.connections) {
      if (!conn?.isOpen || conn.data === undefined || conn.engineListener.isClient) continue
      if (conn.engineListener.handlers.suspend) continue
      if (conn.stream || conn.secure) continue // they do not go
      try {
        encodeState(conn.data)
      } catch (cause) {
        return new MultireactorError(
          'ERR_MR_STATE',
          `the data of a connection of listener ${conn.listener} cannot be cloned, and the app has no suspend hook: ${toEnvelope(cause).message}`,
          { cause },
        )
      }
    }
    return undefined
  }

  /**
   * Gets ready for another thread: feeds no hook any more, waits until no promise, deferred reply or run of a connection is
   * pending (at most `timeoutMs`; the connections of the rest close as `thread-lost`), and keeps their data. Then it is closed.
   */
  async run(timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs
    await this.#endStreams(timeoutMs)
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, until - performance.now()))
      this.#onQuiet = () => {
        clearTimeout(timer)
        resolve()
      }
      this.#host.driver.quiesce()
    })
    await outOfTurn()
    this.#host.hearLast()
    const asked = new Set<unknown>()
    // biome-ignore lint/suspicious/noExplicitAny: as above
    const isNew = (conn: ConnectionLink<any> | undefined): boolean =>
      conn?.isOpen === true && !conn.engineListener.isClient && !(conn.stream || conn.secure) && !asked.has(conn)
    // While one is asked, another may come in. From the last look on nothing happens any more: all between two turns.
    while (this.#host.connections.some(isNew)) {
      for (const conn of this.#host.connections) {
        if (!conn || !isNew(conn)) continue
        asked.add(conn)
        const state = await this.stateOf(conn)
        if (state !== undefined && conn.isOpen) conn.keepState(state)
      }
      await outOfTurn()
    }
    this.#host.close()
    for (const conn of this.#host.streams) conn.stream!.closed('thread-lost', 0)
    this.#host.streams.clear()
    for (const layer of this.#host.layers) layer?.closed()
  }

  /**
   * Ends the connections bound to this thread: streams, and connections with TLS. Siblings take fresh connections meanwhile. Where there is no
   * sibling, those wait for the next thread while this one has only busy connections, which end in a moment; idle ones stay, and while
   * they do, fresh ones are served here. Connections still there near the end of `timeoutMs` are ended, and cut after that.
   */
  async #endStreams(timeoutMs: number): Promise<void> {
    const left = (): number => this.#host.streams.size + this.#host.layerCount()
    if (left() === 0) return this.askStreamsToEnd(false)
    const { driver } = this.#host
    const until = performance.now() + timeoutMs
    const lastMs = Math.min(mostLastMs, timeoutMs / 2)
    this.sayLastWords(true)
    driver.relieve()
    const early = new Set<unknown>([...this.#host.streams, ...this.#host.layers.filter((layer) => layer !== undefined)])
    this.#early = early
    this.askStreamsToEnd(true)
    await this.#untilNone(left, Math.min(mostBusyMs, timeoutMs / 4))
    if (left() > 0) {
      driver.welcome()
      await this.#untilNone(() => early.size, until - lastMs - performance.now())
      driver.relieve()
      this.sayLastWords(true)
      driver.endSecure(Math.floor(lastMs * 0.8))
      for (const { name, side } of this.#host.listeners) {
        this.#guarded('drain', name, () => side?.existingServer?.endIdle())
      }
      await this.#untilNone(left, until - performance.now())
    }
    this.#early = undefined
  }

  /** Until none of those is left, or so many ms have passed. */
  async #untilNone(left: () => number, ms: number): Promise<void> {
    if (left() === 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, ms))
      this.#onBoundClosed = () => {
        if (left() !== 0) return
        clearTimeout(timer)
        resolve()
      }
    })
    this.#onBoundClosed = undefined
  }

  askStreamsToEnd(idleStay: boolean): void {
    this.#closing = true
    for (const { name, side } of this.#host.listeners) {
      this.#guarded('drain', name, () => side?.existingServer?.closing(idleStay))
    }
    for (const conn of this.#host.streams) this.#guarded('stream', conn.listener, () => conn.stream!.closing())
  }

  /** A callback of the app beside its hooks may throw: the others are called all the same. */
  #guarded(hook: string, listener: string, call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#host.report(error, hook, listener)
    }
  }

  sayLastWords(boundOnly: boolean): void {
    for (const { side } of this.#host.listeners) side?.beforeDrain?.(boundOnly)
  }

  /** The server is closing, or the thread is leaving: fresh streams are to end soon. */
  get closing(): boolean {
    return this.#closing
  }

  /** The state for `restore` in the next thread. Closes the connection when it cannot be had. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  async stateOf(conn: ConnectionLink<any>): Promise<Uint8Array | undefined> {
    const { suspend } = conn.engineListener.handlers
    const { slot, generation } = conn
    try {
      const state: unknown = !suspend
        ? conn.data
        : await (contexts.used ? this.#host.contexts.run(slot, generation, suspend, conn) : suspend(conn))
      return state === undefined ? undefined : encodeState(state)
    } catch (error) {
      this.#host.report(error, 'suspend', conn.listener)
      conn.destroy('thread-lost')
      return undefined
    }
  }
}

/** A promise of a hook may settle inside of a turn, whose rest still makes events. */
const outOfTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
