import { closedError, MultireactorError, native, OptionReader } from '@multireactor/addon'
import { within } from '@multireactor/pool/group'
import { noTls, openControl, readTls } from '@multireactor/reactor/listen'
import type { ListenTls } from '@multireactor/reactor'
import { closeInOrder } from './close_in_order.js'
import { ControlServer, Predecessor } from './control.js'
import { createRuntime } from './create_runtime.js'
import { mostReactors, mostWorkers, type ServeOptions, type ServeSettings, spareDescriptors } from './options.js'
import { ReactorGroup } from './reactor_group.js'
import { readServeOptions } from './read_options.js'
import { prometheusText } from './prometheus.js'
import { startLine } from './start_line.js'
import { readStats } from './stats.js'
import { ServerAdmin } from './server_admin.js'
import { ServerListeners } from './server_listeners.js'
import { ServerPool } from './server_pool.js'
import { type Listener, ServerReports } from './server_reports.js'
import type { CloseResult, ServerEvents, ServerListener, ServerStats } from './server_types.js'
import { ServerWatches } from './server_watches.js'
import { ServerThreads } from './server_threads.js'
import { type CallOptions, type RunOptions, type SendOutcome, ServerHandle } from './server_handle.js'

/** Starts a server, and resolves when every reactor accepts. */
export async function startServer(options: ServeOptions): Promise<Server> {
  const settings = readServeOptions(options)
  settings.signal?.throwIfAborted()
  const server = new Server(settings)
  await server.start().catch(rethrowWithPlace)
  return server
}

async function rethrowWithPlace(error: unknown): Promise<never> {
  const { withPlace } = await import('./syntax_place.js')
  throw await withPlace(error)
}

/** `resize` goes so far, or as far as the server was started with. */
const roomForReactors = 64

/** A running server. Belongs to the thread that called `serve()`. */
export class Server {
  // Not a base class: `listeners` is the server's own word.
  readonly #reports: ServerReports
  readonly #settings: ServeSettings
  readonly #runtime: number
  readonly #handle: ServerHandle
  readonly #watches: ServerWatches
  readonly #reactors: ReactorGroup
  readonly #listeners: ServerListeners
  readonly #mostReactors: number
  readonly #pool: ServerPool
  readonly #threads: ServerThreads
  #reactorsReplaced = 0
  /** Reloads and resizes, one after the other. */
  #changes: Promise<unknown> = Promise.resolve()
  #failure: Error | undefined
  #predecessor: Predecessor | undefined
  #control: ControlServer | undefined
  readonly #admin: ServerAdmin
  /** Why no traffic should come here. */
  #unready: string | undefined = 'the server is starting'
  /** `close()` was called, and may wait for `drainDelayMs`. */
  #isLeaving = false
  #onClosed!: (error: Error | undefined) => void
  readonly #closed = new Promise<Error | undefined>((resolve) => {
    this.#onClosed = resolve
  })
  #state: 'open' | 'closing' | 'closed' = 'open'

  /** @internal Made by `serve()`. */
  constructor(settings: ServeSettings) {
    this.#settings = settings
    this.#reports = new ServerReports(settings.logger)
    this.#mostReactors = Math.max(settings.reactors, roomForReactors)
    this.#runtime = createRuntime(settings, this.#mostReactors)
    this.#watches = new ServerWatches(this.#runtime, settings.logger, this.#reports)
    try {
      this.#handle = ServerHandle.of(this.#runtime)
    } catch (error) {
      native.removeRuntime(this.#runtime)
      throw error
    }
    this.#listeners = new ServerListeners(this.#runtime, settings, () => this.#reactors)
    this.#reactors = new ReactorGroup({
      runtime: this.#runtime,
      hasPool: settings.pool.size > 0,
      poolIsGiven: settings.given.pool,
      plans: this.#listeners.plans,
      cpus: settings.pin.reactors,
      startTimeoutMs: settings.startTimeoutMs,
      hookTimeoutMs: settings.hookTimeoutMs,
      taskTimeoutMs: settings.pool.taskTimeoutMs,
      resourceLimits: settings.resourceLimits,
      mostGarbage: settings.mostGarbage,
      onEvent: (name, value) => this.#reports.onEvent(name, value),
      onReplaced: (replaced) => {
        this.#reactorsReplaced++
        this.#reports.reactorReplaced(replaced)
      },
      onStartFailed: (index, error) => this.#reports.report(error, { hook: 'start', listener: '', thread: `reactor ${index}` }),
      onGivenUp: (index, error) => this.#onReactorGivenUp(index, error),
    })
    this.#admin = new ServerAdmin(settings.admin, {
      metrics: () => prometheusText(this.stats()),
      unready: () => this.#whyUnready(),
      warn: (message) => settings.logger.warn(message),
    })
    this.#pool = new ServerPool(this.#runtime, settings, this.#reports)
    this.#threads = new ServerThreads({
      runtime: this.#runtime,
      settings,
      reactors: this.#reactors,
      listeners: this.#listeners,
      pool: this.#pool,
    })
  }

  /** @internal Begins; called by `serve()`. */
  async start(): Promise<void> {
    try {
      await this.#start()
    } catch (error) {
      await this.#end()
      throw error
    }
    const { signal } = this.#settings
    signal?.addEventListener('abort', () => void this.#destroy(), { once: true })
    // It may have been aborted while the threads started.
    if (signal?.aborted) {
      await this.#destroy()
      signal.throwIfAborted()
    }
  }

  async #start(): Promise<void> {
    const { reactors, pool, given, limits, logger } = this.#settings
    if (limits.connections + spareDescriptors(reactors, pool.size) > native.fileLimit()) {
      logger.warn(
        `the process may have ${native.fileLimit()} files open, too few for ${limits.connections} connections: raise \`ulimit -n\`, or lower limits.connections`,
      )
    }
    // Opened first: a port in use fails the start before any thread has been made, and names are known. Clients that connect while
    // the threads start waits in the kernel's queue.
    const { control } = this.#settings
    this.#predecessor = control && (await Predecessor.find(control.path))
    const inherited = this.#predecessor?.sockets
    await this.#listeners.open(inherited)
    await this.#admin.open(this.#predecessor !== undefined)
    // A third process must not find a free path, so that it is opened before it is served.
    const controlListener = control && openControl(this.#runtime, 'serve() control', control.path, inherited)
    inherited?.closeRest()
    // A pool that was asked for starts beside the reactors; otherwise the app is asked first whether it needs one.
    const early = given.pool && pool.size > 0 ? this.#pool.start(this.#listeners.plans) : undefined
    early?.catch(() => {})
    const { usesPool, needsPool, hooks, unframed } = (await this.#reactors.grow(reactors))[0]!
    this.#pool.check('serve()', needsPool)
    if (early) await early
    else if (usesPool && pool.size > 0) await this.#pool.start(this.#listeners.plans)
    this.#threads.describe(hooks)
    for (const url of unframed) {
      logger.warn(
        `the app ${url} has no framing, so its hooks get the bytes of one read, and TCP splits and joins messages anywhere: set framing: lines(), lengthPrefixed() or another, or framing: raw() to get the bytes of each read`,
      )
    }
    await this.#listeners.listen()
    this.#watches.start(pool.onQueueFull !== 'pause' || pool.maxWaitMs > 0)
    await this.#takeOver()
    if (controlListener !== undefined) this.#serveControl(controlListener, control!.timeoutMs)
    if (!this.#isLeaving) this.#unready = undefined
    logger.info(this.startLine)
  }

  /** The settings of the start and their reasons, in one line. Used by the command. */
  get startLine(): string {
    const { reactors, pool, limits, given, machine } = this.#settings
    const { admin } = this
    return startLine({ reactors, workers: this.#pool.isStarted ? pool.size : 0, memory: limits.memory, given, machine, admin })
  }

  /** Where `/metrics`, `/healthz` and `/readyz` are, with the real port. */
  get admin(): { readonly address: string; readonly port: number } | undefined {
    return this.#admin.address
  }

  async #whyUnready(): Promise<string | undefined> {
    return this.#unready ?? ((await this.#reactors.anyTurns()) ? this.#unready : 'no reactor accepts connections')
  }

  /** Tells the predecessor to go. */
  async #takeOver(): Promise<void> {
    const gone = this.#predecessor?.ready()
    if (gone) await this.#admin.takeOver(gone)
    await gone
    this.#predecessor = undefined
  }

  #serveControl(group: number, timeoutMs: number): void {
    native.ownPath(this.#runtime, group, true)
    for (const open of this.#listeners.opened) native.ownPath(this.#runtime, open.group, true)
    this.#control = new ControlServer({
      runtime: this.#runtime,
      group,
      listeners: () => this.#listeners.opened,
      exclusively: (during) => this.#change(during),
      onReleased: () => {
        this.#handOver(timeoutMs).catch((error: Error) => this.#reports.report(error, { hook: '', listener: '', thread: 'main' }))
      },
      onFailed: (what) => this.#settings.logger.warn(what),
    })
  }

  /** Where the server listens, with the real ports. */
  get listeners(): readonly ServerListener[] {
    return this.#listeners.described
  }

  /** For `ServerHandle.of` in threads of your own. */
  get token(): number {
    return this.#runtime
  }

  /** Adds a listener of an event: see `ServerEvents`. */
  on<Name extends keyof ServerEvents>(name: Name, listener: (...args: ServerEvents[Name]) => void): this {
    this.#reports.emitter.on(name, listener as Listener)
    return this
  }
  /** Adds a listener that is called once. */
  once<Name extends keyof ServerEvents>(name: Name, listener: (...args: ServerEvents[Name]) => void): this {
    this.#reports.emitter.once(name, listener as Listener)
    return this
  }
  /** Removes a listener. */
  off<Name extends keyof ServerEvents>(name: Name, listener: (...args: ServerEvents[Name]) => void): this {
    this.#reports.emitter.off(name, listener as Listener)
    return this
  }

  /** Counters of every reactor, of the queue and of the pool. Never resets, never blocks. Throws `ERR_MR_CLOSED` after `close()`. */
  stats(): ServerStats {
    if (this.#state === 'closed') throw closedError('the server')
    return {
      ...readStats(this.#runtime),
      workersReplaced: this.#pool.replaced,
      reactorsReplaced: this.#reactorsReplaced,
    }
  }

  /**
   * New code in every pool worker and reactor, one after the other, under load: the app's modules are read again. Connections
   * stay; their `data` travels by structured clone, or through `suspend` and `restore`. Rejects, and the old code goes on, when a
   * module fails to load, when its `start` hook fails or has not settled within `startTimeoutMs`, or (`ERR_MR_STATE`) when the data of a
   * connection cannot travel. A hook that is still pending after `timeoutMs` (default 5,000) closes its connection as `thread-lost`.
   */
  async reload(options: { timeoutMs?: number } = {}): Promise<void> {
    const timeoutMs = new OptionReader('server.reload()', options, ['timeoutMs']).integer('timeoutMs', 5_000, 0, 0x7fff_ffff)
    return this.#change(() => this.#threads.reload(timeoutMs).catch(rethrowWithPlace))
  }

  /**
   * More or fewer threads, under load. A reactor that goes lets its listening socket finish, and hands its connections to the
   * others; a worker that goes finishes its claimed frames. Resolves when it is done. A connection that could not move within `timeoutMs`
   * (default 30,000), because one of its hooks is still pending, closes as `server-closing`.
   */
  async resize(sizes: { reactors?: number; pool?: number; timeoutMs?: number }): Promise<void> {
    const read = new OptionReader('server.resize()', sizes, ['reactors', 'pool', 'timeoutMs'])
    const timeoutMs = read.integer('timeoutMs', 30_000, 0, 0x7fff_ffff)
    const reactors = read.integer('reactors', 0, 1, Math.min(mostReactors, this.#mostReactors))
    const pool = read.integer('pool', 0, 1, mostWorkers)
    return this.#change(() => this.#threads.resize(reactors, pool, timeoutMs))
  }

  #change(change: () => Promise<void>): Promise<void> {
    if (this.#state !== 'open') return Promise.reject(closedError('the server'))
    const done = this.#changes.then(async () => {
      if (this.#state !== 'open') throw closedError('the server')
      try {
        await change()
      } catch (error) {
        // The first failure that the closing caused.
        throw this.#state === 'open' ? error : closedError('the server')
      }
    })
    this.#changes = done.catch(() => {})
    return done
  }

  /**
   * New certificates for a listener with TLS, by its name, on every reactor: handshakes from now on use them, connections stay as they
   * are, and tickets stay valid. Rejects with `ERR_MR_TLS` when they cannot be used; then the old ones go on.
   */
  async setTls(listener: string, tls: ListenTls): Promise<void> {
    const number = this.#listeners.plans.findIndex((plan) => plan.name === listener && plan.tls !== undefined)
    const known = this.#listeners.plans.filter((plan) => plan.tls).map((plan) => plan.name)
    if (number < 0) throw noTls('server.setTls()', listener, known)
    const plan = this.#listeners.plans[number]!
    const checked = readTls('server.setTls()', { ticketKeys: plan.tls!.ticketKeys, ...tls }, true)
    return this.#change(async () => {
      plan.tls = checked
      // A thread that starts just now reads the plan.
      await this.#reactors.tellAll('setTls', { listener: number, tls: checked })
    })
  }

  /** See `ServerHandle.send`. */
  send(id: bigint, data: string | Uint8Array): Promise<SendOutcome> {
    return this.#handle.send(id, data)
  }

  /** See `ServerHandle.call`. */
  call(reactor: number, bytes: string | Uint8Array, options: CallOptions = {}): Promise<Buffer> {
    return this.#handle.call(reactor, bytes, options)
  }

  /** See `ServerHandle.callAll`. */
  callAll(bytes: string | Uint8Array, options: CallOptions = {}): Promise<Buffer[]> {
    return this.#handle.callAll(bytes, options)
  }

  /** See `ServerHandle.run`. */
  run(bytes: string | Uint8Array, options: RunOptions = {}): Promise<Buffer> {
    return this.#handle.run(bytes, options)
  }

  /** See `ServerHandle.runTask`. */
  runTask<Result = unknown>(value: unknown, options: RunOptions = {}): Promise<Result> {
    return this.#handle.runTask<Result>(value, options)
  }

  /** See `ServerHandle.reactors`. */
  get reactors(): number {
    return this.#handle.reactors
  }

  /** See `ServerHandle.destroy`. */
  destroy(id: bigint): Promise<boolean> {
    return this.#handle.destroy(id)
  }

  /** See `ServerHandle.publish`. */
  publish(topic: string, data: string | Uint8Array): Promise<number | 'full'> {
    return this.#handle.publish(topic, data)
  }

  /**
   * Stops accepting without resetting queued connections, answers the frames in flight, closes. Connections still open after
   * `timeoutMs` (default 5,000) is destroyed. For `drainDelayMs` (default 0) before that the server goes on serving while `/readyz` says 503, so
   * that load balancers stop sending connections. Rejects with `ERR_MR_CLOSED` when it was closed before.
   */
  async close(options: { timeoutMs?: number; drainDelayMs?: number } = {}): Promise<CloseResult> {
    const read = new OptionReader('server.close()', options, ['timeoutMs', 'drainDelayMs'])
    const timeoutMs = read.integer('timeoutMs', 5_000, 0, 0x7fff_ffff)
    const drainDelayMs = read.integer('drainDelayMs', 0, 0, 0x7fff_ffff)
    if (this.#state !== 'open' || this.#isLeaving) throw closedError('the server')
    this.#isLeaving = true
    this.#unready = 'the server is closing'
    if (drainDelayMs > 0) {
      await within(this.#closed, drainDelayMs)
      // An abort or a successor has been quicker.
      if (this.#state !== 'open') throw closedError('the server')
    }
    this.#state = 'closing'
    return this.#close(timeoutMs)
  }

  async #handOver(timeoutMs: number): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#unready = 'the server is closing'
    // The successor waits for its port.
    this.#admin.close()
    this.#reports.emit('handedOver', await this.#close(timeoutMs))
  }

  /** A failure on the way must leave neither threads nor a server that closes for ever. */
  async #close(timeoutMs: number): Promise<CloseResult> {
    try {
      const result = await closeInOrder(
        {
          reactors: this.#reactors,
          pool: this.#pool,
          watches: this.#watches,
          leavesListeners: () => this.#control?.close() === true,
          openConnections: () => this.stats().connections.open,
        },
        timeoutMs,
      )
      await this.#end()
      return result
    } catch (error) {
      if (this.#state !== 'closed') await this.#end()
      throw error
    }
  }

  /** The same as `close()`; when it is closing already, resolves with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'open' && !this.#isLeaving) await this.close()
    else await this.#closed
  }

  /** Resolves when the server has closed: to the error that closed it, or to nothing after `close()`. */
  get closed(): Promise<Error | undefined> {
    return this.#closed
  }

  async #destroy(): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    await this.#end()
  }

  async #end(): Promise<void> {
    this.#state = 'closing'
    this.#watches.stop()
    this.#control?.close()
    this.#predecessor?.close()
    this.#unready = 'the server is closing'
    await this.#reactors.terminate()
    await this.#pool.terminate()
    this.#admin.close()
    this.#state = 'closed'
    this.#handle.close()
    native.removeRuntime(this.#runtime)
    this.#onClosed(this.#failure)
  }

  #onReactorGivenUp(index: number, error: Error | undefined): void {
    if (this.#state !== 'open') return
    const lost = new MultireactorError(
      'ERR_MR_THREAD_LOST',
      `no thread of reactor ${index} could be started${error ? ` (${error.message})` : ''}; ${
        this.#reactors.alive > 0 ? 'its connections go to the other reactors' : 'no reactor is left, and the server closes'
      }`,
      { cause: error },
    )
    this.#reports.report(lost, { hook: '', listener: '', thread: `reactor ${index}` })
    if (this.#reactors.alive > 0) return
    this.#failure = lost
    void this.#destroy()
  }
}
