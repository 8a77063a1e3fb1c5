import { EventEmitter } from 'node:events'
import {
  type CloseReason,
  closedError,
  closeReasons,
  type ErrorEnvelope,
  failureFromEnvelope,
  MultireactorError,
  named,
  native,
  OptionReader,
  type ReactorCounterName,
  reactorCounterNames,
  type WorkerCounterName,
  workerCounterNames,
} from '@multireactor/addon'
import type { Replaced } from '@multireactor/pool'
import { Thread, WorkerGroup } from '@multireactor/pool/parts'
import { type OpenListener, openListener } from '@multireactor/reactor/parts'
import { readServeOptions, type ServeOptions, type ServeSettings } from './options.js'
import type { AppDescription, ListenerPlan, ReactorThreadData } from './reactor_thread.js'
import { type SendOutcome, ThreadServer } from './thread_server.js'
import type { WorkerThreadData } from './worker_thread.js'

export interface ServerListener {
  readonly name: string
  /** The literal address, or the Unix path. */
  readonly address: string
  /** 0 for a Unix path. */
  readonly port: number
  /** How many reactors accept its connections. */
  readonly reactors: number
}

export interface ServerStats {
  /** Sums over the reactors. */
  connections: { open: number; accepted: number; closed: Record<CloseReason, number> }
  reactors: (Record<ReactorCounterName, number> & { closed: Record<CloseReason, number> })[]
  queue: { tasks: number; frames: number; bytes: number }
  workers: Record<WorkerCounterName, number>[]
  workersReplaced: number
  repliesUnrouted: number
}

export interface CloseResult {
  /** Replies that left while the server was closing. */
  answered: number
  /** Connections that were still open when the time was over. */
  destroyed: number
  /** Frames refused on purpose. */
  shed: number
}

export interface ServerEvents {
  /** A pool worker died or ran out of time, and has a successor. */
  workerReplaced: [replaced: Replaced]
  reactorReplaced: [replaced: { index: number; error: Error | undefined }]
  shed: [what: { frames: number }]
  /** A hook or `parse` failed (it cost at most its connection), or a thread did. Logged when nobody listens. */
  error: [error: Error, context: { hook: string; listener: string; thread: string }]
}

/** Starts a server, and resolves when every reactor accepts. */
export async function serve(options: ServeOptions): Promise<Server> {
  const settings = readServeOptions(options)
  settings.signal?.throwIfAborted()
  const server = new Server(settings)
  await server.start()
  return server
}

/** How long a thread may take to answer before it counts as stuck, beside the time that was asked for. */
const stuckMs = 1_000

async function settlesWithin(promise: Promise<unknown>, milliseconds: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), milliseconds)
  })
  const inTime = await Promise.race([promise.then(() => true), late])
  clearTimeout(timer)
  return inTime
}

// biome-ignore lint/suspicious/noExplicitAny: what Node's emitter takes; the methods below are typed
type Listener = (...args: any[]) => void

/** A running server. Belongs to the thread that called `serve()`. */
export class Server {
  // Not a base class: `listeners` is the server's own word.
  readonly #emitter = new EventEmitter()
  readonly #settings: ServeSettings
  readonly #runtime: number
  readonly #threadServer: ThreadServer
  readonly #reactors: Thread[] = []
  #group: WorkerGroup | undefined
  #listeners: ServerListener[] = []
  #workersReplaced = 0
  #failure: Error | undefined
  #onClosed!: (error: Error | undefined) => void
  readonly #closed = new Promise<Error | undefined>((resolve) => {
    this.#onClosed = resolve
  })
  #state: 'open' | 'closing' | 'closed' = 'open'

  /** Use `serve()`. */
  constructor(settings: ServeSettings) {
    this.#settings = settings
    const { size, maxQueued, maxQueuedBytes } = settings.pool
    this.#runtime = native.createRuntime({
      reactors: settings.reactors,
      workers: size,
      maxTasks: maxQueued,
      maxBytes: maxQueuedBytes,
    })
    this.#threadServer = ThreadServer.attach(this.#runtime)
  }

  /** Used by `serve()`, once. */
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
    const { addresses, reactors, pool, poolIsGiven } = this.#settings
    // Opened first: a port in use fails the start before any thread has been made, and names are known. Whoever connects while
    // the threads start waits in the kernel's queue.
    const opened: OpenListener[] = []
    for (const { address } of addresses) opened.push(await openListener(this.#runtime, 'serve() listen', address, reactors))
    const plans: ListenerPlan[] = addresses.map(({ app }, i) => ({ name: opened[i]!.name, app }))
    for (let index = 0; index < reactors; index++) {
      const data: ReactorThreadData = { runtime: this.#runtime, index, hasPool: pool.size > 0, plans }
      this.#reactors.push(
        new Thread(
          new URL('./reactor_thread.js', import.meta.url),
          { workerData: data, name: `mr-reactor-${index}` },
          (name, value) => this.#onEvent(name, value),
        ),
      )
    }
    // A pool that was asked for starts beside the reactors; otherwise the app is asked first whether it needs one.
    const early = poolIsGiven && pool.size > 0 ? this.#startPool(plans) : undefined
    early?.catch(() => {})
    const descriptions = (await Promise.all(this.#reactors.map((thread) => thread.ready))) as AppDescription[]
    const { hasParse, needsPool } = descriptions[0]!
    if (needsPool && pool.size === 0) {
      throw new MultireactorError(
        'ERR_MR_NO_POOL',
        'serve(): the app has parse and no message hook, so it needs a pool: pass pool: 1 or more',
      )
    }
    if (early) await early
    else if (hasParse && pool.size > 0) await this.#startPool(plans)
    this.#reactors.forEach((thread, index) => void thread.exited.then(({ error }) => this.#reactorEnded(index, error)))
    await this.#listen(opened)
  }

  async #startPool(plans: ListenerPlan[]): Promise<void> {
    const { pool } = this.#settings
    const { concurrency, taskTimeoutMs } = pool
    this.#group = new WorkerGroup({
      runtime: this.#runtime,
      size: pool.size,
      entry: new URL('./worker_thread.js', import.meta.url),
      threadOptions: (index) => ({
        workerData: { runtime: this.#runtime, index, plans, concurrency, taskTimeoutMs } satisfies WorkerThreadData,
        name: `mr-worker-${index}`,
      }),
      taskTimeoutMs,
      keepsAlive: true,
      retry: pool.onTaskLost === 'retry',
      onEvent: (_index, name, value) => this.#onEvent(name, value),
      onReplaced: (replaced) => {
        this.#workersReplaced++
        if (!this.#emitter.emit('workerReplaced', replaced)) {
          this.#settings.logger.warn(
            `pool worker ${replaced.index} ended (${replaced.reason}) and was replaced; ${replaced.lost} frames lost`,
          )
        }
      },
      onStartFailed: (index, error) => this.#report(error, { hook: 'start', listener: '', thread: `worker ${index}` }),
    })
    await this.#group.start()
  }

  async #listen(opened: readonly OpenListener[]): Promise<void> {
    const { reactors } = this.#settings
    for (const [listener, open] of opened.entries()) {
      // A Unix path has one listening socket: the first reactor accepts there and hands the connections round.
      const members = this.#reactors.slice(0, open.members)
      await Promise.all(
        members.map((thread, member) => thread.request('listen', { listener, group: open.group, member, spread: open.isPath })),
      )
    }
    this.#listeners = opened.map(({ name, address, port }) => ({ name, address, port, reactors }))
  }

  /** Where the server listens, with the real ports. */
  get listeners(): readonly ServerListener[] {
    return this.#listeners
  }

  /** For `ThreadServer.attach` in threads of your own. */
  get token(): number {
    return this.#runtime
  }

  on<Name extends keyof ServerEvents>(name: Name, listener: (...args: ServerEvents[Name]) => void): this {
    this.#emitter.on(name, listener as Listener)
    return this
  }
  once<Name extends keyof ServerEvents>(name: Name, listener: (...args: ServerEvents[Name]) => void): this {
    this.#emitter.once(name, listener as Listener)
    return this
  }
  off<Name extends keyof ServerEvents>(name: Name, listener: (...args: ServerEvents[Name]) => void): this {
    this.#emitter.off(name, listener as Listener)
    return this
  }

  /** Counters of every reactor, of the queue and of the pool. Never resets, never blocks. Throws `ERR_MR_CLOSED` after `close()`. */
  stats(): ServerStats {
    if (this.#state === 'closed') throw closedError('the server')
    const counters = native.readCounters(this.#runtime)
    const reactors = counters.reactors.map((row, i) => ({
      ...named(reactorCounterNames, row),
      closed: named(closeReasons, counters.closed[i]!),
    }))
    const sum = (of: (reactor: (typeof reactors)[number]) => number) =>
      reactors.reduce((total, reactor) => total + of(reactor), 0)
    const closed = Object.fromEntries(closeReasons.map((reason) => [reason, sum((reactor) => reactor.closed[reason])]))
    return {
      connections: { open: sum((r) => r.open), accepted: sum((r) => r.accepted), closed: closed as Record<CloseReason, number> },
      reactors,
      queue: { tasks: counters.queueTasks, frames: counters.queueFrames, bytes: counters.queueBytes },
      workers: counters.workers.map((row) => named(workerCounterNames, row)),
      workersReplaced: this.#workersReplaced,
      repliesUnrouted: counters.repliesUnrouted,
    }
  }

  /** See `ThreadServer.send`. */
  send(id: bigint, data: string | Uint8Array): Promise<SendOutcome> {
    return this.#threadServer.send(id, data)
  }

  /**
   * Stops accepting without resetting anybody who is queued, answers what is in flight, closes. What is still open after
   * `timeoutMs` (default 5,000) is destroyed. Rejects with `ERR_MR_CLOSED` when it was closed before.
   */
  async close(options: { timeoutMs?: number } = {}): Promise<CloseResult> {
    const timeoutMs = new OptionReader('server.close()', options, ['timeoutMs']).integer('timeoutMs', 5_000, 0, 0x7fff_ffff)
    if (this.#state !== 'open') throw closedError('the server')
    this.#state = 'closing'
    const before = this.#repliesWritten()
    let destroyed = 0
    const timer = setTimeout(() => {
      for (const thread of this.#reactors) {
        thread.request('destroyAll').then(
          (count) => {
            destroyed += count as number
          },
          () => {},
        )
      }
    }, timeoutMs)
    const drained = Promise.allSettled(this.#reactors.map((thread) => thread.request('drain', Math.min(timeoutMs, 2_000))))
    // A reactor that is stuck in a hook answers nothing: it is ended, and its connections with it.
    if (!(await settlesWithin(drained, timeoutMs + stuckMs))) destroyed += this.stats().connections.open
    clearTimeout(timer)
    const answered = this.#repliesWritten() - before
    await settlesWithin(Promise.allSettled(this.#reactors.map((thread) => thread.request('stop'))), stuckMs)
    await this.#group?.close(timeoutMs)
    await this.#end()
    return { answered, destroyed, shed: 0 }
  }

  /** The same as `close()`; when it is closing already, resolves with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'open') await this.close()
    else await this.#closed
  }

  /** Resolves when the server has closed: to the error that closed it, or to nothing after `close()`. */
  get closed(): Promise<Error | undefined> {
    return this.#closed
  }

  #repliesWritten(): number {
    return native
      .readCounters(this.#runtime)
      .reactors.reduce((sum, row) => sum + row[reactorCounterNames.indexOf('repliesWritten')]!, 0)
  }

  async #destroy(): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    await this.#end()
  }

  async #end(): Promise<void> {
    this.#state = 'closing'
    await Promise.all(this.#reactors.map((thread) => thread.terminate()))
    await this.#group?.terminate()
    this.#state = 'closed'
    this.#threadServer.close()
    native.removeRuntime(this.#runtime)
    this.#onClosed(this.#failure)
  }

  #reactorEnded(index: number, error: Error | undefined): void {
    if (this.#state !== 'open') return
    const lost = new MultireactorError('ERR_MR_THREAD_LOST', `the thread of reactor ${index} ended; the server closes`, {
      cause: error,
    })
    this.#failure = lost
    this.#report(lost, { hook: '', listener: '', thread: `reactor ${index}` })
    void this.#destroy()
  }

  #onEvent(name: string, value: unknown): void {
    if (name === 'acceptError') {
      const { errno, listener } = value as { errno: number; listener: string }
      this.#settings.logger.warn(`listener ${listener} cannot accept (errno ${errno}); trying again in 100 ms`)
      return
    }
    const { error, hook, listener, thread } = value as { error: ErrorEnvelope; hook: string; listener: string; thread: string }
    this.#report(failureFromEnvelope(error), { hook, listener, thread })
  }

  /** An 'error' event that nobody listens for would take the process down; a handler's mistake must not. */
  #report(error: Error, context: ServerEvents['error'][1]): void {
    if (this.#emitter.listenerCount('error') > 0) this.#emitter.emit('error', error, context)
    else
      this.#settings.logger.error(
        `${context.thread}, ${context.hook} of listener ${context.listener}: ${error.stack ?? error.message}`,
      )
  }
}
