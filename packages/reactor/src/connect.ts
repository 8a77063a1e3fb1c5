import type { LookupAddress } from 'node:dns'
import {
  type Context,
  closedError,
  currentContext,
  MultireactorError,
  type NativeListener,
  type NativeTarget,
  OptionReader,
  shown,
  toEnvelope,
} from '@multireactor/addon'
import { boundHooks } from './bound_hooks.js'
import { dns, net } from './builtins.js'
import type { Connection } from './connection.js'
import type { ConnectResult, Engine } from './engine.js'
import { type EngineListener, hooksOf, nativeListener, readMaxPending } from './engine_listener.js'
import { raw } from './framing.js'
import type { ClientHandlers } from './handlers.js'

/** Where to connect: a port of a host, or a Unix path. */
export interface ConnectTarget {
  /** 1 to 65535. */
  port?: number
  /** A literal address, or a name that node:dns resolves. Default `'localhost'`. */
  host?: string
  /** Only addresses of this family. Default: both, in turn. */
  family?: 4 | 6
  /** A Unix socket instead of a port. */
  path?: string
  /** Connect from this address of this machine. */
  localAddress?: string
  /** Connect from this port. Default: the kernel chooses. */
  localPort?: number
  /** What `conn.listener` and errors call it. Default: `host:port`, or the path. */
  name?: string
}

/** Options of `connect()`. */
export interface ConnectOptions {
  /** For the name, and all addresses that it has. Default 10,000. */
  timeoutMs?: number
  /** A name has several addresses: how long one may take before the next is tried beside it (RFC 8305). Default 250. */
  attemptDelayMs?: number
  /** Aborting it rejects with its reason. Of no effect once connected. */
  signal?: AbortSignal
}

const anyBytes = raw()

const targetNames = ['port', 'host', 'family', 'path', 'localAddress', 'localPort', 'name'] as const

/** A Unix socket whose queue is full is tried again after so many ms: the kernel does not tell when it has room. */
const unixRetryMs = 10

interface Plan {
  name: string
  /** To resolve, or resolved. */
  host: string
  port: number
  path: string | undefined
  family: 0 | 4 | 6
  local: { host: string; port: number } | undefined
}

/** Resolves to the open connection. Throws only what is a mistake in the arguments; all else rejects. */
export async function connect<Data>(
  where: string,
  engine: Engine | Promise<Engine>,
  target: ConnectTarget,
  handlers: ClientHandlers<Data>,
  options: ConnectOptions,
): Promise<Connection<Data>> {
  const context = currentContext()
  const plan = readTarget(where, target)
  const read = new OptionReader(where, options, ['timeoutMs', 'attemptDelayMs', 'signal'])
  const timeoutMs = read.integer('timeoutMs', 10_000, 1, 0x7fff_ffff)
  const attemptDelayMs = read.integer('attemptDelayMs', 250, 1, 0x7fff_ffff)
  const signal = read.signal()
  const { hooks, connectionOptions } = boundHooks(where, handlers)
  const framing = connectionOptions.framing ?? anyBytes
  // Who connects speaks first as a rule, so there is no time limit for the other side's first byte unless it is asked for.
  const native = sameAsLast(
    nativeListener(where, { firstByteTimeoutMs: 0, ...connectionOptions }, framing, {
      hooks: hooksOf(hooks),
      toPool: false,
      answersOverload: false,
      run: 'pool',
      balance: 'kernel',
      secure: false,
    }),
  )
  const listener: EngineListener = {
    name: plan.name,
    framing,
    handlers: hooks,
    toPool: false,
    highBytes: native.outHighBytes,
    mostBytes: native.outMaxBytes,
    maxPending: readMaxPending(where, connectionOptions),
    run: 'pool',
    side: undefined,
    secure: undefined,
    isClient: true,
  }
  signal?.throwIfAborted()

  const limit = new TimeLimit(timeoutMs, signal)
  try {
    const driving = await limit.of(Promise.resolve(engine), () =>
      failure(
        plan,
        systemError('ETIMEDOUT', plan.name),
        'the thread does not drive its reactor yet: do not wait for connect() in start()',
      ),
    )
    const targets = await resolve(plan, limit)
    return await new Race(driving, plan, targets, { listener, native, attemptDelayMs, limit, context }).run()
  } finally {
    limit.end()
  }
}

let last: NativeListener | undefined

/** Options of the same content are the same object: the driver reads those only once. */
function sameAsLast(native: NativeListener): NativeListener {
  for (const name of Object.keys(native) as (keyof NativeListener)[]) {
    if (last?.[name] === native[name]) continue
    last = Object.freeze(native)
    break
  }
  return last!
}

function readTarget(where: string, target: ConnectTarget): Plan {
  const read = new OptionReader(where, target, targetNames)
  const path = read.string('path')
  const port = read.integer('port', -1, 1, 65_535)
  if ((path === undefined) === (port === -1)) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where}: needs either a port (1 to 65535) or a path, and got ${path === undefined ? shown(target) : 'both'}`,
    )
  }
  const family = read.integer('family', 0, 4, 6)
  if (family === 5) throw new MultireactorError('ERR_MR_OPTION_RANGE', `${where}: 'family' must be 4 or 6, and is 5`)
  const localAddress = read.string('localAddress')
  const localPort = read.integer('localPort', 0, 0, 65_535)
  const host = read.string('host') ?? 'localhost'
  if (path !== undefined && (localAddress !== undefined || localPort !== 0)) {
    throw new MultireactorError('ERR_MR_OPTION_TYPE', `${where}: 'localAddress' and 'localPort' are for ports, not for a path`)
  }
  if (localAddress !== undefined && net().isIP(localAddress) === 0 && !localAddress.includes('%')) {
    throw new MultireactorError(
      'ERR_MR_OPTION_RANGE',
      `${where}: 'localAddress' must be an address of this machine such as '192.0.2.7', and is ${shown(localAddress)}`,
    )
  }
  const own = localAddress === undefined ? 0 : localAddress.includes(':') ? 6 : 4
  if (own !== 0 && family !== 0 && own !== family) {
    throw new MultireactorError('ERR_MR_OPTION_RANGE', `${where}: 'localAddress' is not of family ${family}`)
  }
  const wanted = (own || family) as 0 | 4 | 6
  return {
    name: read.string('name') ?? path ?? (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`),
    host,
    port: Math.max(port, 0),
    path,
    family: wanted,
    local: own === 0 && localPort === 0 ? undefined : { host: localAddress ?? '', port: localPort },
  }
}

/** The addresses to try, in turn; both families take turns, as RFC 8305 wants it. */
async function resolve(plan: Plan, limit: TimeLimit): Promise<NativeTarget[]> {
  if (plan.path !== undefined) return [{ path: plan.path }]
  const { host, port, family } = plan
  if (net().isIP(host) !== 0 || host.includes('%')) return [{ host, port }]
  let found: LookupAddress[]
  try {
    found = await limit.of(dns().lookup(host, { all: true, family, order: 'verbatim' }), () =>
      failure(plan, systemError('ETIMEDOUT', plan.name), 'its name was not resolved in time'),
    )
  } catch (cause) {
    if (limit.isOver) throw cause
    throw failure(plan, cause as Error, 'its name has no address')
  }
  const first = found.filter((one) => one.family === found[0]!.family)
  const second = found.filter((one) => one.family !== found[0]!.family)
  const turns = first.flatMap((one, i) => (second[i] ? [one, second[i]] : [one]))
  return [...turns, ...second.slice(first.length)].map(({ address }) => ({ host: address, port }))
}

/** The time and the signal of one `connect()`, for all that it waits for. */
class TimeLimit {
  readonly #endsAt: number
  readonly #signal: AbortSignal | undefined
  readonly #timer: NodeJS.Timeout
  #over: Error | 'time' | 'signal' | undefined
  #stop: ((why: 'time' | 'signal') => void) | undefined
  readonly #onAbort = (): void => this.#fire('signal')

  constructor(timeoutMs: number, signal: AbortSignal | undefined) {
    this.#endsAt = performance.now() + timeoutMs
    this.#signal = signal
    this.#timer = setTimeout(() => this.#fire('time'), timeoutMs)
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  get isOver(): boolean {
    return this.#over !== undefined
  }
  get leftMs(): number {
    return Math.max(1, Math.ceil(this.#endsAt - performance.now()))
  }
  get reason(): unknown {
    return this.#signal?.reason
  }

  /** What `work` resolves to, unless the time is over or the signal aborts before. */
  of<T>(work: Promise<T>, late: () => Error): Promise<T> {
    return new Promise((resolve, reject) => {
      this.onStop((why) => reject(why === 'time' ? late() : this.reason))
      work.then(resolve, reject)
    })
  }

  /** Tells one at a time: whoever waits now. */
  onStop(stop: (why: 'time' | 'signal') => void): void {
    this.#stop = stop
    if (this.#over === 'time' || this.#over === 'signal') stop(this.#over)
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#stop = undefined
  }

  #fire(why: 'time' | 'signal'): void {
    this.#over ??= why
    this.#stop?.(why)
  }
}

interface RaceOptions {
  listener: EngineListener
  native: ReturnType<typeof nativeListener>
  attemptDelayMs: number
  limit: TimeLimit
  /** In which its hooks run. */
  context: Context
}

/** One connection out of several addresses: the first that opens. The others are cancelled. */
class Race {
  readonly #engine: Engine
  readonly #plan: Plan
  readonly #targets: readonly NativeTarget[]
  readonly #options: RaceOptions
  readonly #running = new Set<number>()
  readonly #failures: Error[] = []
  #next = 0
  #timer: NodeJS.Timeout | undefined
  #over = false
  // biome-ignore lint/suspicious/noExplicitAny: `open` decides
  #resolve!: (conn: Connection<any>) => void
  #reject!: (error: unknown) => void

  constructor(engine: Engine, plan: Plan, targets: readonly NativeTarget[], options: RaceOptions) {
    this.#engine = engine
    this.#plan = plan
    this.#targets = targets
    this.#options = options
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  run(): Promise<Connection<any>> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      const { limit } = this.#options
      limit.onStop((why) => {
        const late = () => failure(this.#plan, systemError('ETIMEDOUT', this.#plan.name), 'nobody answered in time')
        this.#end(() => reject(why === 'time' ? late() : limit.reason))
      })
      this.#begin()
    })
  }

  /** The next address, if there is one. */
  #begin(): void {
    clearTimeout(this.#timer)
    if (this.#over) return
    const target = this.#targets[this.#next]
    if (!target) {
      if (this.#running.size === 0) this.#end(() => this.#reject(this.#failure()))
      return
    }
    this.#next++
    this.#attempt(target)
    if (!this.#over && this.#next < this.#targets.length && this.#running.size !== 0) {
      this.#timer = setTimeout(() => this.#begin(), this.#options.attemptDelayMs)
    }
  }

  #attempt(target: NativeTarget): void {
    const { listener, native, limit, context } = this.#options
    const { local } = this.#plan
    // A port of our own without an address: the address that means any, of the same family.
    const any = 'host' in target && target.host.includes(':') ? '::' : '0.0.0.0'
    const from = local && { host: local.host === '' ? any : local.host, port: local.port }
    let request: number | string
    try {
      request = this.#engine.connect(target, from, { listener, native, timeoutMs: limit.leftMs, context }, (result) => {
        this.#running.delete(request as number)
        this.#ended(target, result)
      })
    } catch (error) {
      return this.#end(() => this.#reject(error))
    }
    if (typeof request === 'number') this.#running.add(request)
    else this.#ended(target, request)
  }

  #ended(target: NativeTarget, result: ConnectResult): void {
    if (this.#over) {
      if (typeof result !== 'string' && !(result instanceof Error)) result.destroy()
      return
    }
    if (result instanceof Error) return this.#end(() => this.#reject(failure(this.#plan, result, 'its open hook failed')))
    if (typeof result !== 'string') return this.#end(() => this.#resolve(result))
    if (result === 'ECANCELED') return this.#end(() => this.#reject(closedError('the reactor')))
    if (result === 'ENOSPC') {
      return this.#end(() =>
        this.#reject(
          new MultireactorError(
            'ERR_MR_LIMIT',
            `connect(): ${this.#plan.name}: the process has as many connections (limits.connections) or bytes (limits.memory) as it may: close some, or raise the limit`,
          ),
        ),
      )
    }
    if (result === 'EAGAIN' && 'path' in target) {
      this.#timer = setTimeout(() => this.#attempt(target), unixRetryMs)
      return
    }
    this.#failures.push(systemError(result, 'path' in target ? target.path : target.host, 'path' in target ? 0 : target.port))
    this.#begin()
  }

  #end(settle: () => void): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#timer)
    for (const request of this.#running) this.#engine.cancelConnect(request)
    this.#running.clear()
    settle()
  }

  #failure(): MultireactorError {
    const [first] = this.#failures
    const code = (first as NodeJS.ErrnoException).code!
    const cause =
      this.#failures.length === 1
        ? first!
        : Object.assign(new AggregateError(this.#failures, `none of ${this.#failures.length} addresses answered`), { code })
    return failure(this.#plan, cause, advice[code] ?? 'the kernel refused')
  }
}

const advice: Record<string, string> = {
  ECONNREFUSED: 'nobody listens there',
  ETIMEDOUT: 'nobody answered in time',
  ENETUNREACH: 'there is no way to that network',
  EHOSTUNREACH: 'there is no way to that host',
  ENOENT: 'there is no such socket',
  EACCES: 'permission denied',
  EADDRINUSE: 'localPort is in use',
  EADDRNOTAVAIL: 'localAddress is no address of this machine, or it has no port left',
  EINVAL: 'that is no address',
  ENAMETOOLONG: 'a Unix path has at most 107 bytes',
  EMFILE: 'the process has no file descriptors left: raise `ulimit -n`',
  ENOBUFS: 'more than 1,024 different sets of options are in use, or the kernel has no memory',
}

function failure(plan: Plan, cause: Error, why: string): MultireactorError {
  // An open hook may throw anything.
  const { code } = toEnvelope(cause)
  return new MultireactorError('ERR_MR_CONNECT', `connect ${code ?? 'failed'} ${plan.name}: ${why}`, { cause })
}

/** As `net.connect` makes them: code, syscall, address, port. */
function systemError(code: string, address: string, port = 0): Error {
  const place = port === 0 ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
  const error = new Error(`connect ${code} ${place}`)
  return Object.assign(error, { code, syscall: 'connect', address, ...(port === 0 ? {} : { port }) })
}
