import { type Context, contexts, currentContext } from '@multireactor/addon'

/**
 * The context of each connection of a reactor, by slot: the stores that its own hooks have entered with `AsyncLocalStorage`. Made when
 * storages are in use and an event of the connection comes.
 */
export class ConnectionContexts {
  /** In which the reactor was made: every connection begins with it, unless it brings its own. */
  readonly #base = currentContext()
  readonly #contexts: ({ generation: number; context: Context } | undefined)[] = []

  /** The context of a connection that has not had an event yet: where `connect()` was called. */
  adopt(slot: number, generation: number, context: Context): void {
    this.#contexts[slot] = { generation, context }
  }

  drop(slot: number): void {
    if (this.#contexts[slot] !== undefined) this.#contexts[slot] = undefined
  }

  /** Runs `work` in the context of a connection, and keeps the stores that it enters. */
  run<Args extends unknown[], Result>(slot: number, generation: number, work: (...args: Args) => Result, ...args: Args): Result {
    const held = this.#of(slot, generation)
    return held.context.runInAsyncScope(() => {
      const { mark } = contexts
      try {
        return work(...args)
      } finally {
        if (contexts.mark !== mark) held.context = currentContext()
      }
    })
  }

  /** Runs `work` in a context of its own. */
  runFresh<Args extends unknown[], Result>(work: (...args: Args) => Result, ...args: Args): Result {
    return this.#base.runInAsyncScope(currentContext).runInAsyncScope(work, undefined, ...args)
  }

  /** The event of a connection that has just run was the first to enter a storage, on the reactor's own context. */
  entered(slot: number, generation: number): void {
    this.#contexts[slot] = { generation, context: currentContext() }
  }

  #of(slot: number, generation: number): { generation: number; context: Context } {
    const held = this.#contexts[slot]
    if (held?.generation === generation) return held
    const fresh = { generation, context: this.#base.runInAsyncScope(currentContext) }
    this.#contexts[slot] = fresh
    return fresh
  }
}
