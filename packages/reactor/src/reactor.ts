import {
  closedError,
  closeReasons,
  MultireactorError,
  named,
  native,
  OptionReader,
  outliveOutput,
  type ReactorCounterName,
  reactorCounterNames,
  shown,
  toEnvelope,
  unlimited,
} from '@multireactor/addon'
import { AcceptFailures } from './accept_failures.js'
import { addressOptionNames, type ListenAddress, type OpenListener, openListener } from './address.js'
import { boundHooks } from './bound_hooks.js'
import type { ConnectOptions } from './connect.js'
import type { ConnectTarget } from './connect_target.js'
import type { Connection } from './connection.js'
import { Engine } from './engine.js'
import { engineSideOf, withEngineSide } from './engine_side.js'
import type { ExistingServerSide } from './stream.js'
import type { ClientHandlers, ConnectionHandlers, ConnectionOptions } from './handlers.js'
import type { SecureListener } from './secure_layer.js'
import { type ListenTls, noTls, readTls } from './tls_options.js'
import { deflatedFormOf } from './deflated_forms.js'
import { checkPublication } from './publication.js'
import { kindOfFailure, ReportLimit } from './report_limit.js'
import { clearTimeout, setTimeout } from './timers.js'

/** Options of `new Reactor()`. */
export interface ReactorOptions {
  /**
   * Told of every hook that threw or rejected, and once a second of a listener that cannot accept. Default: `console.error`, at most once a
   * second for each listener, hook and code (or class) of error; the next line says how many there were meanwhile.
   */
  onError?: (error: unknown, context: { hook: string; listener: string }) => void
}

/** The result of `listen()`. */
export interface ReactorListener {
  /** The name of the listener: `conn.listener` of its connections. */
  readonly name: string
  /** The literal address, or the Unix path. */
  readonly address: string
  /** The port; 0 for a Unix path. */
  readonly port: number
}

/** Counters since the start (docs/metrics.md), and closed connections by reason. */
export type ReactorStats = Record<ReactorCounterName, number> & { closed: Record<string, number> }

/**
 * One reactor on the current thread, the main thread included: its own epoll set, listeners and connections, driven inside the
 * thread's event loop. Without any pool.
 *
 * ```ts
 * const reactor = new Reactor()
 * const { port } = await reactor.listen({ port: 0 }, { message(conn, chunk) { conn.write(chunk) } })
 * await reactor.close()
 * ```
 */
export class Reactor {
  readonly #runtime: number
  readonly #engine: Engine
  readonly #secure = new Map<string, { number: number; ticketKeys: Uint8Array }>()
  readonly #existing = new Set<ExistingServerSide>()
  #state: 'open' | 'closing' | 'closed' = 'open'
  #drained: (() => void) | undefined
  #onClosed!: () => void
  readonly #closed = new Promise<void>((resolve) => {
    this.#onClosed = resolve
  })

  /** Attaches a fresh reactor to this thread. Throws `ERR_MR_SYSTEM` when the kernel gives no descriptors. */
  constructor(options: ReactorOptions = {}) {
    const report = reporter(
      new OptionReader('new Reactor()', options, ['onError']).func<NonNullable<ReactorOptions['onError']>>('onError'),
    )
    this.#runtime = native.createRuntime({ ...unlimited, reactors: 1, workers: 0, maxReactors: 1, maxWorkers: 0 })
    const acceptFailures = new AcceptFailures()
    const slow = new SlowConsumers()
    this.#engine = new Engine(
      this.#runtime,
      0,
      false,
      {
        handlerError: (error, hook, listener) => report(error, { hook, listener }),
        acceptError: (errno, listener) => {
          const sentence = acceptFailures.sentence(errno, listener)
          if (sentence) report(new MultireactorError('ERR_MR_SYSTEM', sentence), { hook: 'accept', listener })
        },
        slowConsumer: (listener) => slow.tell(listener),
        drained: () => this.#drained?.(),
      },
      true,
    )
  }

  /**
   * Listens, and resolves when connections are accepted. `address` is a port or an address; `handlers` are the hooks and, beside
   * them, the options of the connections (`framing`, `noDelay`, …).
   */
  async listen<Data = undefined>(
    address: ListenAddress | number,
    handlers: ConnectionHandlers<Data> & ConnectionOptions,
    options: { signal?: AbortSignal } = {},
  ): Promise<ReactorListener> {
    this.#checkOpen()
    const where = 'reactor.listen()'
    const bound = boundHooks(where, handlers)
    const signal = new OptionReader(where, options, ['signal']).signal()
    if (typeof address !== 'number' && (typeof address !== 'object' || address === null || Array.isArray(address))) {
      throw new MultireactorError(
        'ERR_MR_OPTION_TYPE',
        `${where}: must be a port or an address such as { port: 7000 }, and is ${shown(address)}`,
      )
    }
    new OptionReader(where, typeof address === 'number' ? {} : address, addressOptionNames)
    if (!bound.hooks.message) throw new MultireactorError('ERR_MR_OPTION_TYPE', `${where}: the handlers need a message hook`)
    const tls = typeof address === 'number' || address.tls === undefined ? undefined : readTls(where, address.tls, false)
    // Few need it, and it is a lot.
    const secure = tls && new (await import('./secure_layer.js')).SecureListener(tls)
    signal?.throwIfAborted()
    const opened: OpenListener = await openListener(this.#runtime, where, address, 1)
    try {
      this.#serve(opened, handlers, bound, tls, secure)
    } catch (error) {
      // No reactor accepts there: the port is free for the next one.
      if (this.#state !== 'closed') native.closeListener(this.#runtime, opened.group)
      throw error
    }
    signal?.addEventListener('abort', () => void this[Symbol.asyncDispose](), { once: true })
    return { name: opened.name, address: opened.address, port: opened.port }
  }

  #serve(
    opened: OpenListener,
    handlers: object,
    { hooks, connectionOptions }: ReturnType<typeof boundHooks>,
    tls: ListenTls | undefined,
    secure: SecureListener | undefined,
  ): void {
    this.#checkOpen()
    const side = engineSideOf(handlers)
    if (side) withEngineSide(hooks, side)
    const existing = side?.existingServer
    const number = this.#engine.addListener({ name: opened.name, handlers: hooks, options: connectionOptions, secure })
    if (tls) this.#secure.set(opened.name, { number, ticketKeys: tls.ticketKeys! })
    if (existing) this.#existing.add(existing)
    existing?.listening({ address: opened.address, port: opened.port })
    for (let member = 0; member < opened.members; member++) this.#engine.driver.listen(number, opened.group, member, false)
  }

  /**
   * Sends bytes to every connection of this reactor that has subscribed to `topic`, and says how many those are; `'full'`: refused,
   * since 64 MiB of publications wait to be delivered. Copied once, before the call returns. Throws `ERR_MR_TOPIC` and `ERR_MR_DATA`.
   */
  publish(topic: string, data: string | Uint8Array): number | 'full' {
    this.#checkOpen()
    checkPublication('reactor.publish()', topic, data)
    const deflated = deflatedFormOf(data)
    const subscribers = this.#engine.driver.publish(topic, data, deflated?.bytes, deflated?.windowBits)
    return subscribers < 0 ? 'full' : subscribers
  }

  /** As `conn.reactor.connect()`: a connection of this reactor to another server. Nothing has to listen for it. */
  async connect<Data = undefined>(
    target: ConnectTarget,
    handlers: ClientHandlers<Data> = {},
    options: ConnectOptions = {},
  ): Promise<Connection<Data>> {
    if (this.#state === 'closed') throw closedError('the reactor')
    return this.#engine.handle.connect(target, handlers, options)
  }

  /**
   * New certificates for a listener with TLS, by its name: handshakes from now on use them, connections stay as they are. Throws
   * `ERR_MR_TLS` when they cannot be used; then the old ones go on.
   */
  setTls(listener: string, tls: ListenTls): void {
    this.#checkOpen()
    const known = this.#secure.get(listener)
    if (!known) throw noTls('reactor.setTls()', listener, [...this.#secure.keys()])
    this.#engine.setTls(known.number, readTls('reactor.setTls()', { ticketKeys: known.ticketKeys, ...tls }, false))
  }

  /** Counters since the start; never resets, never blocks. */
  stats(): ReactorStats {
    this.#checkOpen()
    const counters = native.readCounters(this.#runtime)
    return { ...named(reactorCounterNames, counters.reactors[0]!), closed: named(closeReasons, counters.closed[0]!) }
  }

  /**
   * Stops accepting without resetting queued connections, answers the frames in flight, closes. Connections still open after
   * `timeoutMs` (default 5,000) are destroyed. Rejects with `ERR_MR_CLOSED` when it was closed before.
   */
  async close(options: { timeoutMs?: number } = {}): Promise<{ destroyed: number }> {
    const timeoutMs = new OptionReader('reactor.close()', options, ['timeoutMs']).integer('timeoutMs', 5_000, 0, 0x7fff_ffff)
    this.#checkOpen()
    this.#state = 'closing'
    const driver = this.#engine.driver
    let destroyed = 0
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        destroyed = driver.destroyAll(closeReasons.indexOf('server-closing'))
      }, timeoutMs)
      this.#drained = () => {
        clearTimeout(timer)
        resolve()
      }
      this.#engine.drain(Math.min(timeoutMs, 2_000))
    })
    this.#state = 'closed'
    for (const server of this.#existing) server.closed()
    this.#engine.close()
    native.removeRuntime(this.#runtime)
    this.#onClosed()
    return { destroyed }
  }

  /** The same as `close()`; when it is closing already, resolves with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'open') await this.close()
    else await this.#closed
  }

  /** Lets the process end while the reactor listens; `ref()` takes it back. Both do nothing once it has closed. */
  unref(): this {
    if (this.#state !== 'closed') this.#engine.driver.setReferenced(false)
    return this
  }
  /** Keeps the process alive while the reactor listens or has connections: the default. */
  ref(): this {
    if (this.#state !== 'closed') this.#engine.driver.setReferenced(true)
    return this
  }

  #checkOpen(): void {
    if (this.#state !== 'open') throw closedError('the reactor')
  }
}

/** Reports at most once a second that a peer was cut off because it did not read. */
class SlowConsumers {
  readonly #limit = new ReportLimit()

  tell(listener: string): void {
    const more = this.#limit.admit(listener)
    if (more === undefined) return
    outliveOutput()
    console.warn(
      `multireactor: a connection of listener ${listener} was closed as slow-consumer: more than outBuffer.max waited for its peer to read${more}`,
    )
  }
}

function limitedLog(): (error: unknown, context: { hook: string; listener: string }) => void {
  const limit = new ReportLimit()
  return (error, context) => {
    const more = limit.admit(kindOfFailure(error, context.hook, context.listener))
    if (more !== undefined) logError(error, context, more)
  }
}

/** A failing reporter ends nothing: both errors are logged. */
function reporter(onError: ReactorOptions['onError']): NonNullable<ReactorOptions['onError']> {
  const log = limitedLog()
  if (!onError) return log
  return (error, context) => {
    const failed = (second: unknown): void => {
      log(error, context)
      log(second, { hook: 'onError', listener: context.listener })
    }
    try {
      const result: unknown = onError(error, context)
      if (result instanceof Promise) result.catch(failed)
    } catch (second) {
      failed(second)
    }
  }
}

function logError(error: unknown, context: { hook: string; listener: string }, more: string): void {
  outliveOutput()
  const what = `multireactor: the ${context.hook} hook of listener ${context.listener} failed${more}:`
  try {
    console.error(what, error)
  } catch {
    // Node cannot show every value that can be thrown.
    console.error(what, toEnvelope(error).message)
  }
}
