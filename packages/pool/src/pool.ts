import { existsSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import {
  closedError,
  type ErrorEnvelope,
  failureFromEnvelope,
  isBytes,
  MultireactorError,
  named,
  type NativePort,
  native,
  OptionReader,
  replyFlag,
  shown,
  unlimited,
  valueBytes,
  valueFrom,
  type WorkerCounterName,
  workerCounterNames,
} from '@multireactor/addon'
import { machine } from './machine.js'
import { PendingRuns } from './pending_runs.js'
import { type WorkerReplaced, WorkerGroup } from './worker_group.js'

/** Options of `new Pool()`. */
export interface PoolOptions {
  /** A module whose default export is `(bytes, ctx) => bytes`, or any other reply. */
  worker: URL | string
  /** Threads. Default: one for each CPU that the process may use, by its affinity and its cgroup's quota; at most 256. */
  size?: number
  /** Tasks that wait. Default 10,000. */
  maxQueued?: number
  /** Bytes of the tasks that wait. Default 256 MiB. */
  maxQueuedBytes?: number
  /** `'wait'` (default): `run` waits for room. `'reject'`: it rejects with `ERR_MR_QUEUE_FULL`. */
  onQueueFull?: 'wait' | 'reject'
  /** Unsettled asynchronous tasks of one worker: 1 to 4,096. Default 32. A worker that gathers tasks into a batch gets no batch above it. */
  concurrency?: number
  /** How much the workers give way to other threads where cores are scarce: 0 (default) to 19. */
  nice?: number
  /** A worker that has not loaded its module by then fails to start. Default 60,000. */
  startTimeoutMs?: number
  /** Default 30,000. A worker that does not come back in time is replaced. */
  taskTimeoutMs?: number
  /** `'reject'` (default), or `'retry'`: a task whose worker died runs once more. */
  onTaskLost?: 'reject' | 'retry'
  /** Told when a worker was replaced. */
  onWorkerReplaced?: (replaced: WorkerReplaced) => void
  /** Destroys the pool with its reason when it aborts. */
  signal?: AbortSignal
}

/** Numbers of a pool, read at once. */
export interface PoolStats {
  /** Tasks that wait for a worker. */
  queued: number
  /** Their bytes. */
  queuedBytes: number
  /** Counters of each worker since the start: docs/metrics.md. */
  workers: Record<WorkerCounterName, number>[]
}

/**
 * Worker threads behind a native task queue, without any socket: bytes in, bytes out.
 *
 * ```ts
 * const pool = new Pool({ worker: new URL('./parse.js', import.meta.url), size: 4 })
 * const result = await pool.run(Buffer.from('{}'))
 * await pool.close()
 * ```
 * Belongs to the thread that made it.
 */
export class Pool {
  readonly #runtime: number
  readonly #port: NativePort
  readonly #group: WorkerGroup
  readonly #rejectFull: boolean
  readonly #maxBytes: number
  readonly #runs: PendingRuns
  readonly #started: Promise<unknown>
  #state: 'open' | 'closing' | 'closed' = 'open'
  #idle: (() => void) | undefined
  /** Why no worker has started: a task would wait for ever. */
  #startFailure: { error: unknown } | undefined

  /** Starts `options.size` threads that load `options.worker`; `ready()` tells when they have. Throws for wrong options. */
  constructor(options: PoolOptions) {
    const where = 'new Pool()'
    const read = new OptionReader(where, options, [
      'worker',
      'size',
      'maxQueued',
      'maxQueuedBytes',
      'onQueueFull',
      'concurrency',
      'nice',
      'startTimeoutMs',
      'taskTimeoutMs',
      'onTaskLost',
      'onWorkerReplaced',
      'signal',
    ])
    const worker = moduleUrl(where, read.raw('worker'))
    const size = read.integer('size', Math.min(machine().threads, 256), 1, 256)
    const concurrency = read.integer('concurrency', 32, 1, 4096)
    const nice = read.integer('nice', 0, 0, 19)
    const startTimeoutMs = read.integer('startTimeoutMs', 60_000, 1, 0x7fff_ffff)
    const taskTimeoutMs = read.integer('taskTimeoutMs', 30_000, 1, 0x7fff_ffff)
    const onReplaced = read.func<NonNullable<PoolOptions['onWorkerReplaced']>>('onWorkerReplaced')
    this.#rejectFull = read.oneOf('onQueueFull', 'wait', ['wait', 'reject']) === 'reject'
    this.#maxBytes = read.integer('maxQueuedBytes', 256 << 20, 1, 2 ** 40)
    const retry = read.oneOf('onTaskLost', 'reject', ['reject', 'retry']) === 'retry'
    const maxTasks = read.integer('maxQueued', 10_000, 1, 1 << 24)
    const signal = read.signal()
    signal?.throwIfAborted()
    this.#runtime = native.createRuntime({
      ...unlimited,
      reactors: 0,
      workers: size,
      maxReactors: 0,
      maxWorkers: size,
      maxTasks,
      maxBytes: this.#maxBytes,
    })
    this.#port = new native.Port(
      this.#runtime,
      () => {},
      () => {},
      (run, flags, bytes) => this.#runs.onResult(run, flags, bytes),
      () => this.#runs.onRoom(),
      true,
    )
    this.#port.setReferenced(false)
    this.#runs = new PendingRuns(this.#port, () => this.#onRuns(), failureOf)
    this.#group = new WorkerGroup({
      runtime: this.#runtime,
      size,
      entry: new URL('./pool_thread.js', import.meta.url),
      threadOptions: (index) => ({
        workerData: { runtime: this.#runtime, index, worker, concurrency, nice, taskTimeoutMs },
        name: `mr-pool-${index}`,
      }),
      startTimeoutMs,
      taskTimeoutMs,
      keepsAlive: false,
      retry,
      onEvent: () => {},
      onReplaced: (replaced) => onReplaced?.(replaced),
      onStartFailed: (_index, error) => this.#runs.failAll(error),
    })
    this.#started = this.#group.start()
    this.#started.catch((error: unknown) => {
      this.#startFailure = { error }
      this.#runs.failAll(error)
    })
    signal?.addEventListener('abort', () => void this.destroy(signal.reason), { once: true })
  }

  /** Resolves when all workers have loaded their module; rejects when one failed to. `run` may be called before. */
  async ready(): Promise<void> {
    await this.#started
  }

  /**
   * Runs the worker function on a copy of `bytes` and resolves to its reply. Rejects with `ERR_MR_TASK_FAILED` (its cause is the
   * function's error), `ERR_MR_TASK_TIMEOUT`, `ERR_MR_TASK_LOST`, `ERR_MR_QUEUE_FULL`, `ERR_MR_TASK_TOO_LARGE`, `ERR_MR_CLOSED`, or
   * the signal's reason. An aborted task that has started runs on; its result is dropped.
   */
  run(bytes: string | Uint8Array, options: { signal?: AbortSignal } = {}): Promise<Buffer> {
    return new Promise((resolve) => {
      this.#checkOpen()
      if (!isBytes(bytes)) {
        throw new MultireactorError(
          'ERR_MR_DATA',
          `pool.run(): the bytes must be a string or Uint8Array, and are ${shown(bytes)}`,
        )
      }
      resolve(this.#run('pool.run()', bytes, false, options))
    })
  }

  /**
   * Runs the named export `task` of the worker module, `(value, ctx) => value`, on a copy of `value`, and resolves to a copy of its result.
   * Values are copied as by `v8.serialize`: like `structuredClone`, without transferables. They count in bytes.
   * Rejects as `run` does, with `ERR_MR_DATA` for a value that cannot be copied, and with `ERR_MR_NO_HOOK` when the module has no `task`.
   */
  runTask<Result = unknown>(value: unknown, options: { signal?: AbortSignal } = {}): Promise<Result> {
    return new Promise((resolve) => {
      this.#checkOpen()
      const bytes = valueBytes('pool.runTask(): the value', value)
      resolve(this.#run('pool.runTask()', bytes, true, options).then((result) => valueFrom(result) as Result))
    })
  }

  #checkOpen(): void {
    if (this.#state !== 'open') throw closedError('the pool')
    if (this.#startFailure) throw this.#startFailure.error
  }

  #run(where: string, bytes: string | Uint8Array, isValue: boolean, options: { signal?: AbortSignal }): Promise<Buffer> {
    const size = Buffer.byteLength(bytes as string)
    if (size > this.#maxBytes) {
      throw new MultireactorError(
        'ERR_MR_TASK_TOO_LARGE',
        `${where}: the task has ${size} bytes, and maxQueuedBytes is ${this.#maxBytes}`,
      )
    }
    const signal = new OptionReader(where, options, ['signal']).signal()
    signal?.throwIfAborted()
    const promise = this.#runs.add({ listener: 0, bytes, isValue, signal }, !this.#rejectFull)
    if (!promise) throw new MultireactorError('ERR_MR_QUEUE_FULL', `${where}: the task queue is full`)
    return promise
  }

  /** Counters since the start; never resets, never blocks. */
  stats(): PoolStats {
    if (this.#state === 'closed') throw closedError('the pool')
    const counters = native.readCounters(this.#runtime)
    return {
      queued: counters.queueTasks,
      queuedBytes: counters.queueBytes,
      workers: counters.workers.map((row) => named(workerCounterNames, row)),
    }
  }

  /** Takes no more tasks, finishes those it has, ends its threads. Rejects with `ERR_MR_CLOSED` when it was closed before. */
  async close(): Promise<void> {
    if (this.#state !== 'open') throw closedError('the pool')
    this.#state = 'closing'
    if (this.#runs.size !== 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
    await this.#end()
  }

  /** Ends the threads now; tasks that are not finished reject with `reason`, or `ERR_MR_CLOSED`. */
  async destroy(reason: unknown = closedError('the pool')): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closing'
    this.#runs.failAll(reason)
    await this.#end()
  }

  /** `close()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'open') await this.close()
  }

  async #end(): Promise<void> {
    await this.#started.catch(() => {})
    await this.#group.close(1_000)
    this.#state = 'closed'
    this.#port.close()
    native.removeRuntime(this.#runtime)
  }

  /** Its thread lives as long as a result is pending. */
  #onRuns(): void {
    const isIdle = this.#runs.size === 0
    if (this.#state === 'open' || !isIdle) this.#port.setReferenced(!isIdle)
    if (isIdle) this.#idle?.()
  }
}

function failureOf(flags: number, bytes: Buffer): MultireactorError {
  if (flags & replyFlag.timedOut)
    return new MultireactorError('ERR_MR_TASK_TIMEOUT', 'the task ran longer than taskTimeoutMs; its worker was replaced')
  if (bytes.length === 0) return new MultireactorError('ERR_MR_TASK_LOST', 'the worker died while it worked on this task')
  const cause = failureFromEnvelope(JSON.parse(bytes.toString()) as ErrorEnvelope)
  if (cause instanceof MultireactorError) return cause
  return new MultireactorError('ERR_MR_TASK_FAILED', `the worker function failed: ${cause.message}`, { cause })
}

/** A module's URL as a string; checks that the file is there. */
function moduleUrl(where: string, worker: unknown): string {
  if (typeof worker !== 'string' && !(worker instanceof URL)) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where}: 'worker' must be the URL or path of a module, and is ${shown(worker)}`,
    )
  }
  const url = worker instanceof URL ? worker : worker.startsWith('file:') ? new URL(worker) : pathToFileURL(worker)
  if (url.protocol === 'file:' && !existsSync(fileURLToPath(url))) {
    throw new MultireactorError('ERR_MR_APP_NOT_FOUND', `${where}: there is no module at ${fileURLToPath(url)}`)
  }
  return url.href
}
