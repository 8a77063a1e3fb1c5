import { MultireactorError } from '@multireactor/addon'
import { type Thread, WorkerGroup } from '@multireactor/pool/group'
import type { ServeSettings } from './options.js'
import { cpuOf } from './pin.js'
import type { ListenerPlan } from './reactor_thread.js'
import type { ServerReports } from './server_reports.js'
import type { WorkerThreadData } from './worker_thread.js'

/** The pool workers of a server. There are none before `start`, which an app without `parse` never needs. */
export class ServerPool {
  readonly #runtime: number
  readonly #settings: ServeSettings
  readonly #reports: ServerReports
  #group: WorkerGroup | undefined
  /** Workers that have been replaced. */
  replaced = 0

  constructor(runtime: number, settings: ServeSettings, reports: ServerReports) {
    this.#runtime = runtime
    this.#settings = settings
    this.#reports = reports
  }

  get isStarted(): boolean {
    return this.#group !== undefined
  }

  check(call: string, needsPool: boolean): void {
    if (!needsPool || this.#settings.pool.size > 0) return
    throw new MultireactorError(
      'ERR_MR_NO_POOL',
      `${call}: the app has parse and no message hook, so it needs a pool: pass pool: 1 or more`,
    )
  }

  async start(plans: ListenerPlan[]): Promise<void> {
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
        this.replaced++
        this.#reports.workerReplaced(replaced)
      },
      onStartFailed: (index, error) => this.#reports.report(error, { hook: 'start', listener: '', thread: `worker ${index}` }),
    })
    await this.#group.start()
  }

  /** Workers with the code as it is now, loaded and not yet working. Undefined without a pool. */
  prepare(): Promise<Thread[]> | undefined {
    return this.#group?.prepare()
  }

  /** Puts prepared workers in the place of the present ones. */
  swap(workers: Thread[]): Promise<void> | undefined {
    return this.#group?.swap(workers)
  }

  async resize(size: number): Promise<void> {
    if (!this.#group) {
      throw new MultireactorError('ERR_MR_NO_POOL', 'server.resize(): the app has no parse hook, so there is no pool to resize')
    }
    await this.#group.resize(size)
    this.#settings.pool.size = size
  }

  async close(timeoutMs: number): Promise<void> {
    await this.#group?.close(timeoutMs)
  }

  async terminate(): Promise<void> {
    await this.#group?.terminate()
  }
}
