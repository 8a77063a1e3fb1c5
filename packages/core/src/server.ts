import { closedError, MultireactorError, native, OptionReader, queueFullPolicies } from '@multireactor/addon'
import { type Thread, WorkerGroup, within } from '@multireactor/pool/group'
import { noTls, openControl, readTls } from '@multireactor/reactor/listen'
import type { ListenTls } from '@multireactor/reactor'
import type { AdminServer } from './admin_server.js'
import { ControlServer, Predecessor } from './control.js'
import {
  mostReactors,
  mostWorkers,
  spareDescriptors,
  readServeOptions,
  type ServeOptions,
  type ServeSettings,
} from './options.js'
import { cpuOf } from './pin.js'
import { ReactorGroup, type ReactorReplaced } from './reactor_group.js'
import type { AppDescription, ListenerPlan } from './reactor_thread.js'
import { prometheusText } from './prometheus.js'
import { startLine } from './start_line.js'
import { readStats } from './stats.js'
import { ServerListeners } from './server_listeners.js'
import { because, type Listener, ServerReports } from './server_reports.js'
import type { CloseResult, ServerEvents, ServerListener, ServerStats } from './server_types.js'
import { ServerWatches } from './server_watches.js'
import type { ServerDescription } from './server_description.js'
import { type CallOptions, type RunOptions, type SendOutcome, ServerHandle } from './server_handle.js'
import type { WorkerThreadData } from './worker_thread.js'

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

/** How long a thread may take to answer before it counts as stuck, beside the time that was asked for. */
const stuckMs = 1_000

/** How long a peer may take to finish after us, or, after a hot restart, to send the request it has connected for. */
const mostLingerMs = 2_000

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
  #group: WorkerGroup | undefined
  #workersReplaced = 0
  #reactorsReplaced = 0
  /** Reloads and resizes, one after the other. */
  #changes: Promise<unknown> = Promise.resolve()
  #failure: Error | undefined
  #predecessor: Predecessor | undefined
  #control: ControlServer | undefined
  #admin: AdminServer | undefined
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
    const { size, maxQueued, maxQueuedBytes, onQueueFull, maxWaitMs } = settings.pool
    const { connections, connectionsPerAddress, acceptsPerSecond, memory } = settings.limits
    this.#mostReactors = Math.max(settings.reactors, roomForReactors)
    this.#runtime = native.createRuntime({
      reactors: settings.reactors,
      workers: size,
      maxReactors: this.#mostReactors,
      maxWorkers: mostWorkers,
      maxTasks: maxQueued,
      maxBytes: maxQueuedBytes,
      onQueueFull: queueFullPolicies.indexOf(onQueueFull),
      maxWaitMs,
      maxConnections: connections,
      maxPerAddress: connectionsPerAddress,
      acceptsPerSecond,
      maxMemoryBytes: memory,
    })
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
      hasPool: size > 0,
      poolIsGiven: settings.given.pool,
      plans: this.#listeners.plans,
      cpus: settings.pin.reactors,
      startTimeoutMs: settings.startTimeoutMs,
      hookTimeoutMs: settings.hookTimeoutMs,
      taskTimeoutMs: settings.pool.taskTimeoutMs,
      resourceLimits: settings.resourceLimits,
      mostGarbage: settings.mostGarbage,
      onEvent: (name, value) => this.#reports.onEvent(name, value),
      onReplaced: (replaced) => this.#onReactorReplaced(replaced),
      onStartFailed: (index, error) => this.#reports.report(error, { hook: 'start', listener: '', thread: `reactor ${index}` }),
      onGivenUp: (index, error) => this.#onReactorGivenUp(index, error),
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
    await this.#openAdmin(this.#predecessor !== undefined)
    // A third process must not find a free path, so that it is opened before it is served.
    const controlListener = control && openControl(this.#runtime, 'serve() control', control.path, inherited)
    inherited?.closeRest()
    // A pool that was asked for starts beside the reactors; otherwise the app is asked first whether it needs one.
    const early = given.pool && pool.size > 0 ? this.#startPool(this.#listeners.plans) : undefined
    early?.catch(() => {})
    const { usesPool, needsPool, hooks, unframed } = (await this.#reactors.grow(reactors))[0]!
    this.#checkPool('serve()', needsPool)
    if (early) await early
    else if (usesPool && pool.size > 0) await this.#startPool(this.#listeners.plans)
    this.#describe(hooks)
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
    return startLine({ reactors, workers: this.#group ? pool.size : 0, memory: limits.memory, given, machine, admin })
  }

  /** Where `/metrics`, `/healthz` and `/readyz` are, with the real port. */
  get admin(): { readonly address: string; readonly port: number } | undefined {
    return this.#admin?.address
  }

  /** Before any thread: a probe sees that the process lives while the app is loaded. */
  async #openAdmin(hasPredecessor: boolean): Promise<void> {
    const { admin, logger } = this.#settings
    if (!admin) return
    // Not before it is wanted: few servers start with it, and it loads node:http.
    const { AdminServer } = await import('./admin_server.js')
    this.#admin = new AdminServer(admin, {
      metrics: () => prometheusText(this.stats()),
      unready: () => this.#whyUnready(),
      warn: (message) => logger.warn(message),
    })
    try {
      await this.#admin.listen()
    } catch (error) {
      // It may be the predecessor's.
      if (!hasPredecessor || (error as { code?: string }).code !== 'EADDRINUSE') throw error
    }
  }

  async #whyUnready(): Promise<string | undefined> {
    return this.#unready ?? ((await this.#reactors.anyTurns()) ? this.#unready : 'no reactor accepts connections')
  }

  /** Tells the predecessor to go. */
  async #takeOver(): Promise<void> {
    const gone = this.#predecessor?.ready()
    if (gone && this.#admin && !this.#admin.address) await this.#admin.listenAfter(gone)
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

  #checkPool(call: string, needsPool: boolean): void {
    if (!needsPool || this.#settings.pool.size > 0) return
    throw new MultireactorError(
      'ERR_MR_NO_POOL',
      `${call}: the app has parse and no message hook, so it needs a pool: pass pool: 1 or more`,
    )
  }

  /** For `run` and `runTask`, in whichever thread. */
  #describe(hooks: AppDescription['hooks']): void {
    const { onQueueFull, maxQueuedBytes } = this.#settings.pool
    const said: ServerDescription = {
      listeners: this.#listeners.plans.map(({ name }, i) => ({ name, ...hooks[i]! })),
      hasPool: this.#group !== undefined,
      waits: onQueueFull === 'pause',
      maxQueuedBytes,
    }
    native.describe(this.#runtime, JSON.stringify(said))
  }

  async #startPool(plans: ListenerPlan[]): Promise<void> {
    const { pool } = this.#settings
    const { concurrency, nice, taskTimeoutMs } = pool
    this.#group = new WorkerGroup({
      runtime: this.#runtime,
      size: pool.size,
      entry: new URL('./worker_thread.js', import.meta.url),
      threadOptions: (index) => ({
        workerData: {
          runtime: this.#runtime,
          index,
          plans,
          concurrency,
          nice,
          taskTimeoutMs,
          cpu: cpuOf(this.#settings.pin.pool, index),
          mostGarbage: this.#settings.mostGarbage,
        } satisfies WorkerThreadData,
        name: `mr-worker-${index}`,
        ...(this.#settings.resourceLimits ? { resourceLimits: this.#settings.resourceLimits } : {}),
      }),
      startTimeoutMs: this.#settings.startTimeoutMs,
      taskTimeoutMs,
      keepsAlive: true,
      retry: pool.onTaskLost === 'retry',
      onEvent: (_index, name, value) => this.#reports.onEvent(name, value),
      onReplaced: (replaced) => {
        this.#workersReplaced++
        if (!this.#reports.emit('workerReplaced', replaced)) {
          this.#settings.logger.warn(
            `pool worker ${replaced.index} ended (${replaced.reason}) and was replaced; ${replaced.lost} ${replaced.lost === 1 ? 'frame' : 'frames'} lost${because(replaced.error)}`,
          )
        }
      },
      onStartFailed: (index, error) => this.#reports.report(error, { hook: 'start', listener: '', thread: `worker ${index}` }),
    })
    await this.#group.start()
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
      workersReplaced: this.#workersReplaced,
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
    return this.#change(() => this.#reload(timeoutMs).catch(rethrowWithPlace))
  }

  async #reload(timeoutMs: number): Promise<void> {
    // Everything is loaded before anything is touched.
    const { threads, descriptions } = await this.#reactors.prepare()
    let workers: Thread[] | undefined
    try {
      const { usesPool, needsPool } = descriptions[0]!
      this.#checkPool('server.reload()', needsPool)
      if (!this.#group && usesPool && this.#settings.pool.size > 0) await this.#startPool(this.#listeners.plans)
      else workers = await this.#group?.prepare()
      await this.#reactors.checkSuspend()
    } catch (error) {
      await Promise.all([...threads, ...(workers ?? [])].map((thread) => thread.terminate()))
      throw error
    }
    if (workers) await this.#group!.swap(workers)
    this.#describe(descriptions[0]!.hooks)
    await this.#reactors.swap(threads, timeoutMs)
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
    return this.#change(async () => {
      if (pool !== 0) await this.#resizePool(pool)
      if (reactors > this.#reactors.size) await this.#addReactors(reactors)
      else if (reactors !== 0 && reactors < this.#reactors.size) await this.#removeReactors(reactors, timeoutMs)
    })
  }

  async #resizePool(size: number): Promise<void> {
    if (!this.#group) {
      throw new MultireactorError('ERR_MR_NO_POOL', 'server.resize(): the app has no parse hook, so there is no pool to resize')
    }
    await this.#group.resize(size)
    this.#settings.pool.size = size
  }

  async #addReactors(count: number): Promise<void> {
    const before = this.#reactors.size
    native.makeReactors(this.#runtime, count)
    await this.#reactors.grow(count - before)
    // Not before they have a thread: their connections would wait for it, or be lost with one that fails to start.
    for (let index = before; index < count; index++) native.setReactorActive(this.#runtime, index, true)
    await this.#listeners.add(before, count)
  }

  async #removeReactors(count: number, timeoutMs: number): Promise<void> {
    for (const { group } of this.#listeners.opened) native.keepListeners(this.#runtime, group, count)
    for (let index = count; index < this.#reactors.size; index++) native.setReactorActive(this.#runtime, index, false)
    await this.#reactors.shrink(this.#reactors.size - count, timeoutMs)
    this.#listeners.describe()
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
    this.#admin?.close()
    this.#reports.emit('handedOver', await this.#close(timeoutMs))
  }

  /** A failure on the way must leave neither threads nor a server that closes for ever. */
  async #close(timeoutMs: number): Promise<CloseResult> {
    try {
      return await this.#closeInOrder(timeoutMs)
    } catch (error) {
      if (this.#state !== 'closed') await this.#end()
      throw error
    }
  }

  async #closeInOrder(timeoutMs: number): Promise<CloseResult> {
    const before = this.#watches.repliesWritten()
    const shedBefore = this.#watches.framesShed()
    let destroyed = 0
    this.#reactors.beginClose()
    const lingerMs = Math.min(timeoutMs, mostLingerMs)
    // Connections queued on sockets that a successor shares belong to the successor. All of them leave before any of them drains: then
    // the connections accepted for each other have arrived then.
    if (this.#control?.close()) await within(this.#reactors.requestAll('leaveListeners', lingerMs), stuckMs)
    const timer = setTimeout(async () => {
      for (const result of await this.#reactors.requestAll('destroyAll')) {
        if (result.status === 'fulfilled') destroyed += result.value as number
      }
    }, timeoutMs)
    const drained = this.#reactors.requestAll('drain', lingerMs)
    // A reactor that is stuck in a hook answers nothing: it is ended, and its connections with it. So are those without a thread.
    const inTime = await within(drained, timeoutMs + stuckMs)
    const unanswered = inTime && (await drained).some(({ status }) => status === 'rejected')
    if (!inTime || unanswered) destroyed += this.stats().connections.open
    clearTimeout(timer)
    const answered = this.#watches.repliesWritten() - before
    const shed = this.#watches.framesShed() - shedBefore
    this.#watches.tellShed()
    await within(this.#reactors.requestAll('stop'), stuckMs)
    await this.#group?.close(timeoutMs)
    await this.#end()
    return { answered, destroyed, shed }
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
    await this.#group?.terminate()
    this.#admin?.close()
    this.#state = 'closed'
    this.#handle.close()
    native.removeRuntime(this.#runtime)
    this.#onClosed(this.#failure)
  }

  #onReactorReplaced(replaced: ReactorReplaced): void {
    this.#reactorsReplaced++
    if (this.#reports.emit('reactorReplaced', replaced)) return
    const { index, reason, error } = replaced
    this.#settings.logger.warn(
      `the thread of reactor ${index} ended (${reason}) and is replaced; its connections stay, but for those whose data was lost with it and whose app has no restore hook${because(error)}`,
    )
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
