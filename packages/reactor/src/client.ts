import { hookBit, type NativeListener } from '@multireactor/addon'
import { boundHooks } from './bound_hooks.js'
import { type EngineListener, hooksOf, nativeListener, readMaxPending } from './engine_listener.js'
import { type Framing, raw } from './framing.js'
import {
  type ClientHandlers,
  type ConnectionHandlers,
  type ConnectionOptions,
  connectionOptionNames,
  handoverHookNames,
  hookNames,
} from './handlers.js'

export interface Client {
  listener: EngineListener
  native: NativeListener
}

/** Shared by connections with the same options and the same set of hooks. */
interface Profile {
  readonly hooks: number
  readonly options: ConnectionOptions
  /** The driver reads the same object only once. */
  readonly native: NativeListener
  readonly framing: Framing
  readonly maxPending: number
}

const anyBytes = raw()
const known: ReadonlySet<string> = new Set([...hookNames, ...handoverHookNames, ...connectionOptionNames])

/** Repeated connects mostly have like handlers: they are read whole once, and compared from then on. */
let last: Profile | undefined

/** The hooks and options of a connection of `connect()`. Throws for other names. */
export function readClient<Data>(where: string, name: string, handlers: ClientHandlers<Data>): Client {
  let hooks = last && likeLast(last, handlers as ClientHandlers<unknown>)
  if (!hooks) {
    const read = boundHooks(where, handlers)
    hooks = read.hooks
    last = readProfile(where, hooksOf(hooks), read.connectionOptions)
  }
  const { native, framing, maxPending } = last!
  const listener: EngineListener = {
    name,
    framing,
    handlers: hooks,
    toPool: false,
    highBytes: native.outHighBytes,
    mostBytes: native.outMaxBytes,
    maxPending,
    run: 'pool',
    side: undefined,
    dear: 0,
    secure: undefined,
    isClient: true,
  }
  return { listener, native }
}

function readProfile(where: string, hooks: number, options: ConnectionOptions): Profile {
  const framing = options.framing ?? anyBytes
  const native = nativeListener(
    where,
    // A client speaks first as a rule, so there is no time limit for the other side's first byte unless it is asked for.
    { firstByteTimeoutMs: 0, ...options },
    framing,
    { hooks, toPool: false, answersOverload: false, run: 'pool', balance: 'kernel', secure: false },
  )
  return { hooks, options, native: sameAsLast(native), framing, maxPending: readMaxPending(where, options) }
}

/** Options of the same content are the same object. */
function sameAsLast(native: NativeListener): NativeListener {
  const before = last?.native
  const isSame = (Object.keys(native) as (keyof NativeListener)[]).every((name) => before?.[name] === native[name])
  return isSame ? before! : Object.freeze(native)
}

/** The hooks with their `this`, where all else is as in `profile`; undefined: all has to be read. */
function likeLast(profile: Profile, handlers: ClientHandlers<unknown>): ConnectionHandlers<unknown> | undefined {
  if (typeof handlers !== 'object' || handlers === null) return undefined
  for (const name of Object.keys(handlers)) if (!known.has(name)) return undefined
  const { options } = profile
  // One by one: to ask an object for a name that is a variable takes ten times as long.
  const sameOptions =
    handlers.framing === options.framing &&
    handlers.order === options.order &&
    handlers.noDelay === options.noDelay &&
    handlers.keepAliveMs === options.keepAliveMs &&
    handlers.allowHalfOpen === options.allowHalfOpen &&
    // Its fields may have changed.
    handlers.outBuffer === undefined &&
    options.outBuffer === undefined &&
    handlers.maxInFlight === options.maxInFlight &&
    handlers.maxInFlightBytes === options.maxInFlightBytes &&
    handlers.maxPendingMessages === options.maxPendingMessages &&
    handlers.idleTimeoutMs === options.idleTimeoutMs &&
    handlers.firstByteTimeoutMs === options.firstByteTimeoutMs &&
    handlers.frameTimeoutMs === options.frameTimeoutMs &&
    handlers.writeTimeoutMs === options.writeTimeoutMs &&
    handlers.maxSubscriptions === options.maxSubscriptions &&
    handlers.maxSubscriptionBytes === options.maxSubscriptionBytes
  if (!sameOptions) return undefined
  const { open, message, drain, end, timeout, badFrame, close } = handlers
  const hooks =
    bitOf(open, hookBit.open) |
    bitOf(message, hookBit.message) |
    bitOf(drain, hookBit.drain) |
    bitOf(end, hookBit.end) |
    bitOf(timeout, hookBit.timeout) |
    bitOf(badFrame, hookBit.badFrame) |
    bitOf(close, hookBit.close)
  if (hooks !== profile.hooks) return undefined
  // As bind(), which takes ten times as long.
  return {
    open: open && ((conn) => open.call(handlers, conn)),
    message: message && ((conn, frame, info) => message.call(handlers, conn, frame, info)),
    drain: drain && ((conn) => drain.call(handlers, conn)),
    end: end && ((conn) => end.call(handlers, conn)),
    timeout: timeout && ((conn) => timeout.call(handlers, conn)),
    badFrame: badFrame && ((conn, failure) => badFrame.call(handlers, conn, failure)),
    close: close && ((conn, reason) => close.call(handlers, conn, reason)),
  } as ConnectionHandlers<unknown>
}

/** No profile has this one. */
const wrong = 1 << 30

function bitOf(hook: unknown, bit: number): number {
  if (hook === undefined) return 0
  return typeof hook === 'function' ? bit : wrong
}
