/** Every code of our own, with the sentence that docs/errors.md has for it. Errors of the system keep Node's codes (EADDRINUSE…). */
export const errorCodes = {
  ERR_MR_ADDON_DUPLICATE: 'Two copies of @multireactor/addon are loaded in one process. Run `npm dedupe`.',
  ERR_MR_ADDON_MISSING: 'There is no native build for this platform. The message holds the command that makes one.',
  ERR_MR_ADMIN_TOKEN:
    'The token file of `admin` holds no usable token, or `admin` listens on a reachable host without a token; the message names which.',
  ERR_MR_APP_IS_MAIN: 'The app module is the running main module: each thread would start the server again.',
  ERR_MR_APP_LOAD: 'The app module threw while it was loaded; the cause is attached.',
  ERR_MR_APP_NOT_FOUND:
    'There is no file at the path of the app module. The message names the `.js` or `.ts` file of the same name, if there is one.',
  ERR_MR_APP_SHAPE: 'The app module has no default export made by `defineApp`, no hooks, or hooks that do not fit together.',
  ERR_MR_BALANCE:
    'The `balance` hook did not return a reactor that takes connections; the connection stays on the reactor that accepted it.',
  ERR_MR_CALLS_FULL: 'Too many calls, or too many of their bytes, wait for an answer: `server.call` refuses the next ones.',
  ERR_MR_CALL_TIMEOUT:
    'A reactor did not answer a `server.call` within `timeoutMs`; it is unknown whether its `onCall` hook ran.',
  ERR_MR_CALL_TOO_LARGE: 'The bytes of a `server.call`, or its result, are more than 16 MiB.',
  ERR_MR_CLOSED: 'The server, reactor or pool has been closed.',
  ERR_MR_CONNECT: 'A connection could not be made; the cause has the code of the system (ECONNREFUSED, ETIMEDOUT, ENOTFOUND…).',
  ERR_MR_CONNECTION_CLOSED:
    'The app has called `end()` or `close()`, and nothing can be sent after it; or the connection has closed, and the awaited result cannot come.',
  ERR_MR_CONTROL:
    'The process on the control socket is not a compatible multireactor server of this user, or no process can answer there.',
  ERR_MR_DATA: 'The value is not bytes: neither a string nor a Uint8Array that still has its memory.',
  ERR_MR_FRAMER: 'A custom framer returned something that is not a cut of its input.',
  ERR_MR_HTTP: 'HTTP cannot carry this response, or the response has ended already; the message names the fault.',
  ERR_MR_LIMIT:
    'The process has reached `limits.connections` or `limits.memory`; or the connections of one reactor have some 65,000 different framings of `setFraming`.',
  ERR_MR_LISTEN_FD: 'A descriptor given to `listen` is not a listening stream socket, or does not fit beside the others.',
  ERR_MR_NO_HOOK:
    'No app of the server has an `onCall` hook for `server.call`, or the worker module of a pool does not export the requested function.',
  ERR_MR_NO_LISTENER: 'The server has no listener of this name.',
  ERR_MR_NO_POOL: 'The server has no pool, or the app has no `parse` or `task` for the work.',
  ERR_MR_NO_REACTOR: 'The server has no reactor of this number.',
  ERR_MR_OPTION_RANGE: 'An option is outside of its range; the message names the range.',
  ERR_MR_OPTION_TYPE: 'An option has the wrong type.',
  ERR_MR_OVERLOADED: 'The task waited in the queue for longer than `maxWaitMs`, and was not run.',
  ERR_MR_PARSE_RESULT: '`parse` returned a value that is not a reply: neither bytes, nor a list of bytes, nor an async iterable.',
  ERR_MR_PLATFORM: 'multireactor runs on Linux only, with Node 20.19 or newer.',
  ERR_MR_QUEUE_FULL: 'The task queue is full and the pool was told to reject.',
  ERR_MR_REPLY_WRITER:
    'A reply writer was used after its callback had returned, or its callback was asynchronous: a callback writes before it returns.',
  ERR_MR_START_TIMEOUT: 'A thread had not loaded its module and run its `start` hook within `startTimeoutMs`.',
  ERR_MR_STATE: 'The connection cannot be moved, piped or handed over in its current state, or its data cannot be copied.',
  ERR_MR_SOCKET_ACTIVATION: 'systemd did not pass this socket to the process.',
  ERR_MR_SYSTEM: 'A system call failed; the message names it.',
  ERR_MR_TASK_FAILED: 'The worker function threw or rejected; its error is the cause.',
  ERR_MR_TASK_LOST: 'The worker died while it ran this task.',
  ERR_MR_TASK_TIMEOUT: 'The task ran longer than `taskTimeoutMs`.',
  ERR_MR_TASK_TOO_LARGE: 'The task is larger than the limit of the whole task queue.',
  ERR_MR_THREAD_LOST: 'A thread of the server died: it could not be replaced, or the work that it had begun is lost.',
  ERR_MR_TLS: 'A certificate or key cannot be used; the cause is the error of OpenSSL.',
  ERR_MR_TOO_MANY_SUBSCRIPTIONS:
    'The connection has reached its limit of subscriptions or of bytes of topics: `maxSubscriptions`, `maxSubscriptionBytes` of the app.',
  ERR_MR_TOPIC: 'A topic is a string of 1 to 1,024 bytes.',
  ERR_MR_TS_LOADER: 'A TypeScript app on a Node without type stripping needs the package tsx. Run `npm install tsx`.',
  ERR_MR_UNKNOWN_OPTION: 'There is no such option; the message names the nearest one.',
  ERR_MR_WEBSOCKET: 'An `upgrade` hook returned a value that a handshake cannot carry; the message names it.',
  ERR_MR_WRONG_THREAD: 'The object belongs to another thread.',
} as const
/** The `code` of a `MultireactorError`; each is explained in docs/errors.md. */
export type ErrorCode = keyof typeof errorCodes

/**
 * The one error class of all packages. `code` is stable and listed in docs/errors.md; `message` may change.
 *
 * ```ts
 * try {
 *   await reactor.listen({ port: 7000 }, handlers)
 * } catch (err) {
 *   if (err instanceof MultireactorError && err.code === 'EADDRINUSE') console.error('port 7000 is taken')
 * }
 * ```
 */
export class MultireactorError extends Error {
  /** Which failure it is. */
  readonly code: string

  /** `code`: one of `errorCodes`. `message`: the fault, its place, the value and the remedy. `options.cause`: the error behind it. */
  constructor(code: ErrorCode | (string & {}), message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }

  // The name lives on the prototype, as with Node's own errors: it does not show up as a property of each error.
  /** Always `'MultireactorError'`. */
  override get name(): string {
    return 'MultireactorError'
  }
}

/**
 * Returns the result of `call`. Native code has no access to our error class: its errors with one of our codes, as for a forged framing, become
 * a `MultireactorError`.
 */
export function inOurClass<T>(call: () => T): T {
  try {
    return call()
  } catch (cause) {
    const { code, message } = cause as { code?: unknown; message?: unknown }
    if (cause instanceof MultireactorError || typeof code !== 'string' || !(code in errorCodes)) throw cause
    throw new MultireactorError(code, String(message), { cause })
  }
}

export function closedError(what: string): MultireactorError {
  return new MultireactorError('ERR_MR_CLOSED', `${what} has been closed`)
}

/** An error between threads: `postMessage` would lose its code, its class and its cause's code. */
export interface ErrorEnvelope {
  name: string
  message: string
  code?: string
  stack?: string
  cause?: ErrorEnvelope
}

/** Never throws, for any thrown value: its properties may be of any type, or throw themselves. */
export function toEnvelope(error: unknown, depth = 0): ErrorEnvelope {
  if (!attempted(() => error instanceof Error)) {
    const text = attempted(() => String(error)) ?? 'one that cannot be described'
    return { name: 'Error', message: `a value that is no Error was thrown: ${text}` }
  }
  const property = (name: keyof Error | 'code'): unknown => attempted(() => (error as Error & { code?: unknown })[name])
  const text = (name: keyof Error | 'code'): string | undefined => {
    const value = property(name)
    return value === undefined ? undefined : attempted(() => String(value))
  }
  const envelope: ErrorEnvelope = {
    name: text('name') ?? 'Error',
    message: text('message') ?? 'an Error without a message that can be read',
  }
  const code = text('code')
  const stack = property('stack')
  const cause = property('cause')
  if (code !== undefined) envelope.code = code
  if (typeof stack === 'string' && stack !== '') envelope.stack = stack
  if (cause !== undefined && depth < 3) envelope.cause = toEnvelope(cause, depth + 1)
  return envelope
}

function attempted<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** The other side of `toEnvelope`. Errors of ours come back as MultireactorError. */
export function failureFromEnvelope(envelope: ErrorEnvelope): Error {
  const options = envelope.cause ? { cause: failureFromEnvelope(envelope.cause) } : undefined
  const isOurs = envelope.name === 'MultireactorError' && envelope.code !== undefined
  const error = isOurs ? new MultireactorError(envelope.code!, envelope.message, options) : new Error(envelope.message, options)
  if (!isOurs) {
    Object.defineProperty(error, 'name', { value: envelope.name, configurable: true, writable: true })
    if (envelope.code !== undefined) Object.assign(error, { code: envelope.code })
  }
  if (envelope.stack) Object.defineProperty(error, 'stack', { value: envelope.stack, configurable: true, writable: true })
  return error
}
