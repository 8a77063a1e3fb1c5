import { balancePolicies, hookBit, type NativeListener, OptionReader, type RunMode, runModes } from '@multireactor/addon'
import type { BalanceHandlers } from './balance.js'
import { type EngineSide, engineSideOf } from './engine_side.js'
import { type Framing, raw } from './framing.js'
import { type ConnectionHandlers, type ConnectionOptions, connectionOptionNames, type HandoverHandlers } from './handlers.js'
import { firstDear } from './hook_time.js'
import type { SecureListener } from './secure_layer.js'

/** The hooks of a listener. */
export interface EngineHandlers<Data> extends ConnectionHandlers<Data>, HandoverHandlers<Data>, BalanceHandlers {}

/** A listener, as `Engine.addListener` takes it. */
export interface ListenerOffer {
  name: string
  // biome-ignore lint/suspicious/noExplicitAny: the data of connections differs from listener to listener
  handlers: EngineHandlers<any>
  options: ConnectionOptions
  /** There is a `parse` for its frames. Default false. */
  toPool?: boolean
  /** The app answers frames that are refused. Default false. */
  answersOverload?: boolean
  /** Where `parse` runs. Default `'pool'`. */
  run?: RunMode | undefined
  /** Which reactor gets a fresh connection. Default `'kernel'`. */
  balance?: (typeof balancePolicies)[number] | undefined
  /** TLS. */
  secure?: SecureListener | undefined
}

/** A listener as its reactor's thread knows it. */
export interface EngineListener {
  readonly name: string
  readonly framing: Framing
  // biome-ignore lint/suspicious/noExplicitAny: the data of connections differs from listener to listener
  readonly handlers: EngineHandlers<any>
  /** There is a `parse` for its frames. */
  readonly toPool: boolean
  /** `write` says false when so much waits. */
  readonly highBytes: number
  /** A connection for which more waits closes. */
  readonly mostBytes: number
  /** Promises of `message` hooks of one connection that may be pending; it is not read meanwhile. */
  readonly maxPending: number
  readonly run: RunMode
  /** So many of its next rows are taken to be dear: see `HookTime`. */
  dear: number
  readonly side: EngineSide | undefined
  /** It is not one: these are connections that we have made. */
  readonly isClient?: boolean
  readonly secure: SecureListener | undefined
}

const mostMs = 0x7fff_ffff

const hookBits = Object.entries(hookBit) as [keyof typeof hookBit, number][]

/** Which hooks there are, as bits of `hookBit`. */
export function hooksOf(handlers: ConnectionHandlers<unknown> & HandoverHandlers<unknown>): number {
  let hooks = 0
  for (const [hook, bit] of hookBits) {
    if (handlers[hook]) hooks |= bit
  }
  return hooks
}

/** `maxPendingMessages`, checked. The native side knows nothing of promises. */
export function readMaxPending(where: string, options: ConnectionOptions): number {
  const read = new OptionReader(where, options, connectionOptionNames)
  return read.integer('maxPendingMessages', 32, 1, 1 << 20)
}

/** A listener's facts for the native side, beside the options of its app. */
export interface ListenerTraits {
  /** Of `hookBit`. */
  hooks: number
  toPool: boolean
  answersOverload: boolean
  run: RunMode
  balance: (typeof balancePolicies)[number]
  secure: boolean
}

/** Throws for options that are wrong, in the name of `where`. */
export function nativeListener(
  where: string,
  options: ConnectionOptions,
  framing: Framing,
  traits: ListenerTraits,
): NativeListener {
  const { hooks, toPool, answersOverload, run, balance, secure } = traits
  const read = new OptionReader(where, options, connectionOptionNames)
  const marks = new OptionReader(`${where} outBuffer`, read.raw('outBuffer'), ['high', 'low', 'max'])
  const high = marks.integer('high', 64 << 10, 1, 2 ** 40)
  return {
    framing: framing.native,
    hooks,
    toPool: toPool && !framing.cut,
    run: runModes.indexOf(run),
    unordered: read.oneOf('order', 'connection', ['connection', 'none']) === 'none',
    allowHalfOpen: read.boolean('allowHalfOpen', false),
    noDelay: read.boolean('noDelay', true),
    // The kernel counts seconds, up to 32,767 of them.
    keepAliveSeconds: Math.ceil(read.integer('keepAliveMs', 0, 0, 32_767_000) / 1000),
    outHighBytes: high,
    outLowBytes: marks.integer('low', Math.min(16 << 10, high), 0, high),
    outMaxBytes: marks.integer('max', Math.max(16 << 20, high), high, 2 ** 40),
    maxInFlight: read.integer('maxInFlight', 1024, 1, 1 << 20),
    maxInFlightBytes: read.integer('maxInFlightBytes', 256 << 10, 1, 2 ** 40),
    idleMs: read.integer('idleTimeoutMs', 600_000, 0, mostMs),
    firstByteMs: read.integer('firstByteTimeoutMs', 60_000, 0, mostMs),
    frameMs: read.integer('frameTimeoutMs', 60_000, 0, mostMs),
    writeMs: read.integer('writeTimeoutMs', 60_000, 0, mostMs),
    maxSubscriptions: read.integer('maxSubscriptions', 1024, 0, 1 << 20),
    maxSubscriptionBytes: read.integer('maxSubscriptionBytes', 128 << 10, 0, 2 ** 30),
    answersOverload,
    balance: balancePolicies.indexOf(balance),
    secure,
  }
}

/** Reads a listener's hooks and options: the part that this thread keeps, and the part for the native side. Throws for wrong options. */
export function readListener(offer: ListenerOffer): { listener: EngineListener; native: NativeListener } {
  const { name, handlers, options, toPool = false, answersOverload = false, run = 'pool', balance = 'kernel', secure } = offer
  const framing = options.framing ?? raw()
  let hooks = hooksOf(handlers)
  // A custom framer cuts in JavaScript, so the frames of its connections pass through here even if all go to the pool.
  if (framing.cut) hooks |= hookBit.message
  const where = `the app of listener ${JSON.stringify(name)}`
  const native = nativeListener(where, options, framing, {
    hooks,
    toPool: toPool && !handlers.message,
    answersOverload,
    run,
    balance,
    secure: secure !== undefined,
  })
  const listener = {
    name,
    framing,
    handlers,
    toPool,
    run,
    side: engineSideOf(handlers),
    dear: firstDear,
    highBytes: native.outHighBytes,
    mostBytes: native.outMaxBytes,
    maxPending: readMaxPending(where, options),
    secure,
  }
  return { listener, native }
}
