/** A foreign thenable may settle twice, or throw, so it is wrapped in a promise of Node's. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return value !== undefined && value !== null && typeof (value as PromiseLike<unknown>).then === 'function'
}

/** A promise where none is of use: its rejection has no handler, and must not end the thread. */
export function ignoreRejection(value: unknown): void {
  if (isPromise(value)) Promise.resolve(value).catch(() => {})
}
