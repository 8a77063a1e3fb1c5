import type { ResourceLimits } from 'node:worker_threads'
import {
  type BalancePolicy,
  balancePolicies,
  MultireactorError,
  native,
  OptionReader,
  queueFullPolicies,
  shown,
} from '@multireactor/addon'
import { type Machine, machine } from '@multireactor/pool/group'
import type { ListenAddress, ListenTls } from '@multireactor/reactor'
import { addressOptionNames, readTls } from '@multireactor/reactor/listen'
import { type AdminSettings, type CheckedAdmin, readAdmin } from './admin_options.js'
import { type ControlSettings, readControl } from './control.js'
import { type PinChoice, type Pins, type PinSettings, readPin } from './pin.js'
import { appUrl } from './load_app.js'
import { guarded, type Logger, say } from './logger.js'

/** An address, and for a list of them a name and an app of its own. */
export interface ServeAddress extends ListenAddress {
  /** This listener's app instead of the server's. */
  app?: URL | string
  /** Which reactor gets its connections, instead of the server's `balance`. */
  balance?: BalancePolicy
}

/** The worker pool of a server. */
export interface PoolSettings {
  /** Threads. */
  size?: number
  /**
   * Unsettled asynchronous frames of one worker: 1 to 4,096. Default 32. A `parse` that gathers frames into a batch gets no batch above `concurrency`
   * in one worker, and one that waits for a fuller batch waits for its timer: see docs/calls.md.
   */
  concurrency?: number
  /**
   * Priority of the workers below that of the reactors and of other processes, where cores are scarce: 0 to 19, as in `nice(1)`, added to that
   * of the process. Default 0. See docs/placement.md.
   */
  nice?: number
  /** Tasks that wait; reactors stop reading there. Default 16,384. */
  maxQueued?: number
  /**
   * For a frame that finds the queue full. `'pause'` (default): reactors stop reading, and TCP makes the clients wait.
   * `'reject'`: the app's `overloaded` hook answers, ahead of the queue; without it the connection closes. `'close'`: it closes.
   */
  onQueueFull?: 'pause' | 'reject' | 'close'
  /** A frame that has waited longer is refused, by `overloaded` or by closing. Default 0: frames wait as long as it takes. */
  maxWaitMs?: number
  /** Bytes of the tasks that wait. Default 256 MiB. */
  maxQueuedBytes?: number
  /** A frame that runs longer errs; a worker that does not come back is replaced. Default 30,000. */
  taskTimeoutMs?: number
  /** For a frame whose worker died: its connection closes (default), or it runs once more. */
  onTaskLost?: 'close' | 'retry'
}

/** Exact over all reactors. Connections beyond them are closed at once, with the reason in the counters. */
export interface ProcessLimits {
  /** Open connections. Default: the process's limit of file descriptors (`ulimit -n`) less those of the threads. */
  connections?: number
  /** Open connections of one remote address (IPv4), or /64 (IPv6). Default: as many as `connections`. */
  connectionsPerAddress?: number
  /** Connections accepted in a second; the rest waits in the kernel's queue. Default 100,000. */
  acceptsPerSecond?: number
  /** Bytes that the server holds for its connections, those given to JavaScript included: `stats().memory`. Default: half of the machine's memory, or of the least limit of its cgroups. */
  memory?: number
}

/** Options of `serve()`. */
export interface ServeOptions {
  /** The app module: a URL or a path. */
  app: URL | string
  /** A port, an address, or a list of them. */
  listen: number | ServeAddress | readonly (number | ServeAddress)[]
  /** Threads with an epoll set each. Default: one for each CPU that the process may use, by its affinity and its cgroup's quota. */
  reactors?: number
  /** Pool workers, or more about them. Default: as many as `reactors` has by default, if the app has `parse` or `task`. 0: none. */
  pool?: number | PoolSettings
  /**
   * Which reactor gets a fresh connection. `'kernel'` (default): the one whose listening socket the kernel chose.
   * `'least-connections'`: the one that has fewest. `'address'`: the same for the same remote address. Without it an app's
   * `balance` hook decides, if there is one. See docs/balance.md.
   */
  balance?: BalancePolicy
  /**
   * Keeps each reactor's thread on one CPU, and gives it the connections that this CPU receives: `true` for all CPUs of the
   * process in turn, or their numbers. `{ reactors, pool }` pins the workers, too. Default: the kernel moves threads as it likes.
   */
  pin?: PinChoice | PinSettings
  /** Limits of the process. */
  limits?: ProcessLimits
  /** A thread that has not loaded the app and come to the end of its `start` hook by then fails to start. Default 60,000. */
  startTimeoutMs?: number
  /**
   * Time limit of a hook in ms, 100 or more (30,000): a reactor's thread that does not turn for this long is ended and replaced. A thread
   * that a debugger has paused is not.
   */
  hookTimeoutMs?: number
  /** Heap limits of each thread, as `worker_threads` takes them. A thread that reaches them is replaced. */
  resourceLimits?: ResourceLimits
  /** Receives the events that have no listener, and the start line. Default: errors and warnings go to stderr. */
  logger?: Logger
  /** Aborting it destroys the server. */
  signal?: AbortSignal
  /**
   * A Unix socket for hot restarts. A new process that is started with the same path gets the listening sockets of the old one,
   * which stops accepting when the new one accepts, finishes its connections, and closes. See docs/hot-restart.md.
   */
  control?: string | ControlSettings
  /**
   * HTTP listener for operations: `/metrics` (Prometheus), `/healthz` and `/readyz`. A port, `'[HOST:]PORT'`, or an object. On the main
   * thread, so it answers while reactors are stuck. On a host that is not a loopback address it needs `tokenFile`, which `/metrics` then asks
   * for. Default: none. See docs/metrics.md.
   */
  admin?: number | string | AdminSettings
  /**
   * The URL of a module with `adapt(exported)`, which makes an app of a module whose default export has `fetch`. `serve` of
   * `multireactor` names its own.
   */
  fetchAdapter?: URL | string
}

export interface AddressSettings {
  address: ListenAddress
  app: string
  /** Undefined: the app's hook decides, or the kernel. */
  balance: BalancePolicy | undefined
  tls?: ListenTls
}

export interface ServeSettings {
  addresses: AddressSettings[]
  reactors: number
  pin: Pins
  pool: Required<PoolSettings>
  /** Whether the caller named them. */
  given: { reactors: boolean; pool: boolean; memory: boolean }
  machine: Machine
  startTimeoutMs: number
  hookTimeoutMs: number
  limits: Required<ProcessLimits>
  resourceLimits: ResourceLimits | undefined
  /** Bytes of garbage that a thread's heap may hold before it is collected, where `limits.memory` is small. */
  mostGarbage: number | undefined
  logger: Logger
  signal: AbortSignal | undefined
  control: Required<ControlSettings> | undefined
  admin: CheckedAdmin | undefined
  fetchAdapter: string | undefined
}

export const mostReactors = 1024
export const mostWorkers = 256
/** Descriptors for everything but connections: epoll sets, wakers, listening sockets and pipes of the threads, the files of the app. */
export function spareDescriptors(reactors: number, workers: number): number {
  return 128 + 16 * reactors + 8 * workers
}

const leastMemory = 1 << 20

const where = 'serve()'

const optionNames = [
  'app',
  'listen',
  'reactors',
  'pool',
  'balance',
  'pin',
  'limits',
  'startTimeoutMs',
  'hookTimeoutMs',
  'resourceLimits',
  'logger',
  'signal',
  'control',
  'admin',
  'fetchAdapter',
] as const

/** Checks everything that can be checked without starting anything. */
export function readServeOptions(options: ServeOptions): ServeSettings {
  const read = new OptionReader(where, options, optionNames, "an object such as { app: './app.js', listen: 7000 }")
  const app = appUrl(where, read.raw('app'))
  const listen = read.raw('listen')
  const list = Array.isArray(listen) ? listen : [listen]
  if (listen === undefined || list.length === 0) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where}: 'listen' must be a port, an address or a list of addresses, and is ${shown(listen)}`,
    )
  }
  if (list.length > 256)
    throw new MultireactorError('ERR_MR_OPTION_RANGE', `${where}: at most 256 listeners, and there are ${list.length}`)
  const found = machine()
  const { pool, given } = readPool(read.raw('pool'), found)
  const balance = readBalance(read)
  const reactors = read.integer('reactors', Math.min(found.threads, mostReactors), 1, mostReactors)
  const limits = readLimits(read.raw('limits'), spareDescriptors(reactors, pool.size), found)
  const share = garbageShare(limits.limits.memory, reactors + pool.size)
  return {
    addresses: list.map((one) => readAddress(one, app, balance)),
    fetchAdapter: readAdapter(read.raw('fetchAdapter')),
    reactors,
    pin: readPin(where, read.raw('pin')),
    pool,
    given: { reactors: read.raw('reactors') !== undefined, pool: given, memory: limits.memoryIsGiven },
    machine: found,
    resourceLimits: withYoungHeap(readResourceLimits(read.raw('resourceLimits')), share),
    mostGarbage: share === undefined ? undefined : share * 2 ** 20,
    limits: limits.limits,
    startTimeoutMs: read.integer('startTimeoutMs', 60_000, 1, 0x7fff_ffff),
    hookTimeoutMs: read.integer('hookTimeoutMs', 30_000, 100, 0x7fff_ffff),
    logger: readLogger(read.raw('logger')),
    signal: read.signal(),
    control: readControl(where, read.raw('control')),
    admin: readAdmin(where, read.raw('admin')),
  }
}

function readAddress(one: unknown, serverApp: string, serverBalance: BalancePolicy | undefined): AddressSettings {
  const spec = typeof one === 'number' ? { port: one } : one
  const names = [...addressOptionNames, 'app', 'balance']
  const read = new OptionReader(
    `${where} listen`,
    spec,
    names,
    'a port (a number), an address such as { port: 7000 }, or a list of them',
  )
  const { app, tls, balance: _, ...address } = spec as ServeAddress
  read.integer('port', 0, 0, 65_535)
  return {
    address,
    app: app === undefined ? serverApp : appUrl(`${where} listen`, app),
    balance: readBalance(read) ?? serverBalance,
    ...(tls === undefined ? {} : { tls: readTls(`${where} listen`, tls, true) }),
  }
}

function readBalance(read: OptionReader): BalancePolicy | undefined {
  if (read.raw('balance') === undefined) return undefined
  return read.oneOf('balance', 'kernel', balanceChoices)
}

const balanceChoices = balancePolicies.filter((policy) => policy !== 'app')

function readAdapter(value: unknown): string | undefined {
  if (value === undefined || typeof value === 'string') return value
  if (value instanceof URL) return value.href
  throw new MultireactorError(
    'ERR_MR_OPTION_TYPE',
    `${where}: 'fetchAdapter' must be the URL of a module, and is ${shown(value)}`,
  )
}

const poolNames = [
  'size',
  'concurrency',
  'nice',
  'maxQueued',
  'maxQueuedBytes',
  'onQueueFull',
  'maxWaitMs',
  'taskTimeoutMs',
  'onTaskLost',
] as const

function readPool(value: unknown, found: Machine): { pool: Required<PoolSettings>; given: boolean } {
  const spec = typeof value === 'number' ? { size: value } : value
  const read = new OptionReader(`${where} pool`, spec, poolNames, 'a number of workers, or an object such as { size: 2 }')
  const pool: Required<PoolSettings> = {
    size: read.integer('size', Math.min(found.threads, mostWorkers), 0, mostWorkers),
    concurrency: read.integer('concurrency', 32, 1, 4096),
    nice: read.integer('nice', 0, 0, 19),
    maxQueued: read.integer('maxQueued', 16_384, 1, 1 << 24),
    maxQueuedBytes: read.integer('maxQueuedBytes', 256 << 20, 1, 2 ** 40),
    onQueueFull: read.oneOf('onQueueFull', 'pause', queueFullPolicies),
    maxWaitMs: read.integer('maxWaitMs', 0, 0, 0x7fff_ffff),
    taskTimeoutMs: read.integer('taskTimeoutMs', 30_000, 1, 0x7fff_ffff),
    onTaskLost: read.oneOf('onTaskLost', 'close', ['close', 'retry']),
  }
  return { pool, given: read.raw('size') !== undefined }
}

function readLimits(value: unknown, spare: number, found: Machine): { limits: Required<ProcessLimits>; memoryIsGiven: boolean } {
  const read = new OptionReader(`${where} limits`, value ?? {}, [
    'connections',
    'connectionsPerAddress',
    'acceptsPerSecond',
    'memory',
  ])
  const connections = read.integer('connections', Math.max(64, native.fileLimit() - spare), 1, 2 ** 31)
  const limits: Required<ProcessLimits> = {
    connections,
    connectionsPerAddress: read.integer('connectionsPerAddress', connections, 1, 2 ** 31),
    acceptsPerSecond: read.integer('acceptsPerSecond', 100_000, 1, 1_000_000_000),
    memory: read.integer('memory', Math.max(leastMemory, Math.floor(found.memory / 2)), leastMemory, Number.MAX_SAFE_INTEGER),
  }
  return { limits, memoryIsGiven: read.raw('memory') !== undefined }
}

function readResourceLimits(value: unknown): ResourceLimits | undefined {
  if (value === undefined) return undefined
  const names = ['maxYoungGenerationSizeMb', 'maxOldGenerationSizeMb', 'codeRangeSizeMb', 'stackSizeMb'] as const
  const read = new OptionReader(`${where} resourceLimits`, value, names)
  const limits: ResourceLimits = {}
  for (const name of names) if (read.raw(name) !== undefined) limits[name] = read.integer(name, 0, 1, 1 << 20)
  return limits
}

/** Up to which size the young generation of a thread's heap grows by itself, in MiB, and the least that serves. */
const usualYoungMb = 48
const leastYoungMb = 6

/**
 * `limits.memory` does not count garbage. V8 lets the young generation grow to 48 MiB for each thread, and the old one to a multiple of its live
 * bytes. If that is much beside the limit, all threads together get a quarter of it: each of them so many MiB.
 */
function garbageShare(memory: number, threads: number): number | undefined {
  const share = Math.floor(memory / 4 / threads / 2 ** 20)
  return share >= usualYoungMb ? undefined : Math.max(leastYoungMb, share)
}

function withYoungHeap(given: ResourceLimits | undefined, share: number | undefined): ResourceLimits | undefined {
  if (given?.maxYoungGenerationSizeMb !== undefined || share === undefined) return given
  return { ...given, maxYoungGenerationSizeMb: share }
}

function readLogger(value: unknown): Logger {
  if (value === undefined) return stderrLogger
  const methods = ['debug', 'info', 'warn', 'error'] as const
  if (
    typeof value === 'object' &&
    value !== null &&
    methods.every((name) => typeof (value as Partial<Logger>)[name] === 'function')
  ) {
    return guarded(value as Logger, methods)
  }
  throw new MultireactorError(
    'ERR_MR_OPTION_TYPE',
    `${where}: 'logger' must be an object with the functions ${methods.join(', ')}, and is ${shown(value)}`,
  )
}

const stderrLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: (message) => say(`multireactor: warning: ${message}`),
  error: (message) => say(`multireactor: ${message}`),
}
