import { AsyncLocalStorage, AsyncResource, createHook } from 'node:async_hooks'

/**
 * Whether this thread uses `AsyncLocalStorage` or async hooks. Until it does, no context is made or entered, and an event costs one look at
 * `used`.
 */
export const contexts: {
  /** A storage has been entered, or a hook enabled, on this thread. Never false again. */
  used: boolean
  /** Grows with each call that may have changed the context of its caller. */
  mark: number
} = { used: false, mark: 0 }

/**
 * Node has no event for this, so the methods that enter a storage are wrapped: they do their work, and count. A storage that was entered before
 * this package was loaded is noticed with the next call of such a method.
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

/** The current context. A store entered in a run of it is visible in this context only. */
export function currentContext(): Context {
  return new AsyncResource('multireactor', { requireManualDestroy: true })
}

/** Runs `work` in a context of its own, a copy of `from` or of the current one: a store that `work` enters is visible only there. */
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
    // The stores were entered in that context.
    contexts.mark = mark
  }
}
