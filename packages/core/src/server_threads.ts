import { native } from '@multireactor/addon'
import type { Thread } from '@multireactor/pool/group'
import type { ServeSettings } from './options.js'
import type { ReactorGroup } from './reactor_group.js'
import type { AppDescription } from './reactor_thread.js'
import type { ServerDescription } from './server_description.js'
import type { ServerListeners } from './server_listeners.js'
import type { ServerPool } from './server_pool.js'

export interface ServerThreadsParts {
  runtime: number
  settings: ServeSettings
  reactors: ReactorGroup
  listeners: ServerListeners
  pool: ServerPool
}

/** Changes the code and the number of a server's threads while it serves. One call at a time. */
export class ServerThreads {
  readonly #runtime: number
  readonly #settings: ServeSettings
  readonly #reactors: ReactorGroup
  readonly #listeners: ServerListeners
  readonly #pool: ServerPool

  constructor({ runtime, settings, reactors, listeners, pool }: ServerThreadsParts) {
    this.#runtime = runtime
    this.#settings = settings
    this.#reactors = reactors
    this.#listeners = listeners
    this.#pool = pool
  }

  /** For `run` and `runTask`, in whichever thread. */
  describe(hooks: AppDescription['hooks']): void {
    const { onQueueFull, maxQueuedBytes } = this.#settings.pool
    const said: ServerDescription = {
      listeners: this.#listeners.plans.map(({ name }, i) => ({ name, ...hooks[i]! })),
      hasPool: this.#pool.isStarted,
      waits: onQueueFull === 'pause',
      maxQueuedBytes,
    }
    native.describe(this.#runtime, JSON.stringify(said))
  }

  async reload(timeoutMs: number): Promise<void> {
    // Everything is loaded before anything is touched.
    const { threads, descriptions } = await this.#reactors.prepare()
    let workers: Thread[] | undefined
    try {
      const { usesPool, needsPool } = descriptions[0]!
      this.#pool.check('server.reload()', needsPool)
      if (!this.#pool.isStarted && usesPool && this.#settings.pool.size > 0) await this.#pool.start(this.#listeners.plans)
      else workers = await this.#pool.prepare()
      await this.#reactors.checkSuspend()
    } catch (error) {
      await Promise.all([...threads, ...(workers ?? [])].map((thread) => thread.terminate()))
      throw error
    }
    if (workers) await this.#pool.swap(workers)
    this.describe(descriptions[0]!.hooks)
    await this.#reactors.swap(threads, timeoutMs)
  }

  /** To so many reactors and pool workers; 0 leaves them as they are. */
  async resize(reactors: number, workers: number, timeoutMs: number): Promise<void> {
    if (workers !== 0) await this.#pool.resize(workers)
    if (reactors > this.#reactors.size) await this.#addReactors(reactors)
    else if (reactors !== 0 && reactors < this.#reactors.size) await this.#removeReactors(reactors, timeoutMs)
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
}
