// Node's own timers, as they were when this module was loaded. A test of an app replaces the globals by a clock that stands still, and
// what a connection has to tell must not wait for that clock: neither does what a socket of Node's has to tell.
export const clearInterval: typeof globalThis.clearInterval = globalThis.clearInterval
export const clearTimeout: typeof globalThis.clearTimeout = globalThis.clearTimeout
export const setImmediate: typeof globalThis.setImmediate = globalThis.setImmediate
export const setInterval: typeof globalThis.setInterval = globalThis.setInterval
export const setTimeout: typeof globalThis.setTimeout = globalThis.setTimeout
