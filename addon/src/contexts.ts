import { AsyncLocalStorage, AsyncResource, createHook } from 'node:async_hooks'

/**
 * What of this thread is known of `AsyncLocalStorage` and of async hooks. Until one of them is used, no context is made or entered, and an
 * event costs one look at `used`.
 */
export const contexts: {
  /** A storage has been entered, or a hook enabled, on this thread. Never false again. */
  used: boolean
  /** Grows with each call that may have changed the context of its caller. */
  mark: number
} = { used: false, mark: 0 }

/**
 * Node has no event for this, so the methods that enter a storage say so themselves: they do what they did, and count. Storages that were
 * entered before this package was loaded are noticed with the next call of one of them.
 */
function noteUse(prototype: object, methods: readonly string[]): void {
  for (const method of methods) {
    const property = Object.getOwnPropertyDescriptor(prototype, method)
    const original: unknown = property?.value
    if (typeof original !== 'function') continue
    const noted = function (this: unknown, ...args: unknown[]): unknown {
      contexts.used = true
      contexts.mark++
      return Reflect.apply(original, this, args)
    }
    for (const name of ['name', 'length']) {
      Object.defineProperty(noted, name, Object.getOwnPropertyDescriptor(original, name)!)
    }
    Object.defineProperty(prototype, method, { ...property, value: noted })
  }
}

noteUse(AsyncLocalStorage.prototype, ['enterWith', 'run', 'exit', 'disable', 'withScope'])
noteUse(Object.getPrototypeOf(createHook({})) as object, ['enable'])

/** A context that was current once, to run something in. */
export type Context = AsyncResource

/** The current context. What is entered in a run of it belongs to it alone. */
export function currentContext(): Context {
  return new AsyncResource('multireactor', { requireManualDestroy: true })
}

/** Runs `work` in a context of its own that begins as a copy of `from`, or of the current one: what it enters is nobody else's. */
export function runFresh<This, Args extends unknown[], Result>(
  from: Context | undefined,
  work: (this: This, ...args: Args) => Result,
  self: This,
  ...args: Args
): Result {
  const { mark } = contexts
  try {
    if (!contexts.used) return work.apply(self, args)
    const own = from === undefined ? currentContext() : from.runInAsyncScope(currentContext)
    return own.runInAsyncScope(work, self, ...args)
  } finally {
    // What has been entered was entered there.
    contexts.mark = mark
  }
}
