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
import { addressOptionNames, readTls } from '@multireactor/reactor/listen'
import { readAdmin } from './admin_options.js'
import { readControl } from './control.js'
import { appUrl } from './load_app.js'
import { guarded, type Logger, say } from './logger.js'
import {
  type AddressSettings,
  mostReactors,
  mostWorkers,
  type PoolSettings,
  type ProcessLimits,
  type ServeAddress,
  type ServeOptions,
  type ServeSettings,
  spareDescriptors,
} from './options.js'
import { readPin } from './pin.js'

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
