import type { LookupAddress } from 'node:dns'
import {
  type Context,
  closedError,
  currentContext,
  MultireactorError,
  type NativeListener,
  type NativeTarget,
  OptionReader,
} from '@multireactor/addon'
import { dns, net } from './builtins.js'
import { readClient } from './client.js'
import { advice, failure, systemError } from './connect_errors.js'
import { type ConnectTarget, type Plan, readTarget } from './connect_target.js'
import type { Connection } from './connection.js'
import type { Attempt, ConnectResult } from './attempts.js'
import type { Engine } from './engine.js'
import type { EngineListener } from './engine_listener.js'
import type { ClientHandlers } from './handlers.js'
import { clearTimeout, setTimeout } from './timers.js'

/** Options of `connect()`. */
export interface ConnectOptions {
  /** For the name, and all addresses that it has. Default 10,000. */
  timeoutMs?: number
  /** A name has several addresses: how long one may take before the next is tried beside it (RFC 8305). Default 250. */
  attemptDelayMs?: number
  /** Aborting it rejects with its reason. Of no effect once connected. */
  signal?: AbortSignal
}

const optionNames = ['timeoutMs', 'attemptDelayMs', 'signal'] as const

/** A Unix socket whose queue is full is tried again after so many ms: the kernel does not tell when it has room. */
const unixRetryMs = 10

/** Resolves to the open connection. Rejects for every fault. */
export function connect<Data>(
  where: string,
  engine: Engine | Promise<Engine>,
  target: ConnectTarget,
  handlers: ClientHandlers<Data>,
  options: ConnectOptions,
): Promise<Connection<Data>> {
  // Not `async`: of a proxy's connection these steps are most, and each `await` would be one of them.
  try {
    const context = currentContext()
    const plan = readTarget(where, target)
    const read = new OptionReader(where, options, optionNames)
    const timeoutMs = read.integer('timeoutMs', 10_000, 1, 0x7fff_ffff)
    const attemptDelayMs = read.integer('attemptDelayMs', 250, 1, 0x7fff_ffff)
    const signal = read.signal()
    const { listener, native } = readClient(where, plan.name, handlers)
    signal?.throwIfAborted()
    return new Race(plan, { listener, native, timeoutMs, attemptDelayMs, signal, context }).run(engine)
  } catch (error) {
    return Promise.reject(error)
  }
}

/** The target, if no name must be resolved. */
function targetOf({ path, host, port }: Plan): NativeTarget | undefined {
  if (path !== undefined) return { path }
  return net().isIP(host) !== 0 || host.includes('%') ? { host, port } : undefined
}

/** The addresses to try, in turn; both families take turns, as RFC 8305 wants it. */
async function resolve(plan: Plan): Promise<NativeTarget[]> {
  const { host, port, family } = plan
  let found: LookupAddress[]
  try {
    found = await dns().lookup(host, { all: true, family, order: 'verbatim' })
  } catch (cause) {
    throw failure(plan, cause as Error, 'its name has no address')
  }
  const first = found.filter((one) => one.family === found[0]!.family)
  const second = found.filter((one) => one.family !== found[0]!.family)
  const turns = first.flatMap((one, i) => (second[i] ? [one, second[i]] : [one]))
  return [...turns, ...second.slice(first.length)].map(({ address }) => ({ host: address, port }))
}

interface RaceOptions {
  listener: EngineListener
  native: NativeListener
  timeoutMs: number
  attemptDelayMs: number
  signal: AbortSignal | undefined
  /** In which its hooks run. */
  context: Context
}

/** The step that took too long. */
const late = {
  thread: 'the thread does not drive its reactor yet: do not wait for connect() in start()',
  name: 'its name was not resolved in time',
  answer: 'no answer came in time',
} as const

/** One connection out of several addresses: the first that opens. The others are cancelled. */
class Race {
  #engine!: Engine
  readonly #plan: Plan
  readonly #options: RaceOptions
  readonly #endsAt: number
  #targets: readonly NativeTarget[] = []
  readonly #running: Attempt[] = []
  #failures: Error[] | undefined
  #next = 0
  #waitsFor: keyof typeof late = 'answer'
  /** For steps that the native deadline of an attempt does not end. */
  #limit: NodeJS.Timeout | undefined
  #timer: NodeJS.Timeout | undefined
  #onAbort: (() => void) | undefined
  #over = false
  // biome-ignore lint/suspicious/noExplicitAny: `open` decides
  #resolve!: (conn: Connection<any>) => void
  #reject!: (error: unknown) => void

  constructor(plan: Plan, options: RaceOptions) {
    this.#plan = plan
    this.#options = options
    this.#endsAt = performance.now() + options.timeoutMs
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  run(engine: Engine | Promise<Engine>): Promise<Connection<any>> {
    const { signal } = this.#options
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      if (signal) {
        this.#onAbort = () => this.#end(() => reject(signal.reason))
        signal.addEventListener('abort', this.#onAbort, { once: true })
      }
      const target = targetOf(this.#plan)
      if (engine instanceof Promise || target === undefined) void this.#prepare(engine, target)
      else this.#start(engine, [target])
    })
  }

  async #prepare(engine: Engine | Promise<Engine>, target: NativeTarget | undefined): Promise<void> {
    this.#limitTime()
    try {
      this.#waitsFor = 'thread'
      const driving = await engine
      this.#waitsFor = 'name'
      const targets = target === undefined ? await resolve(this.#plan) : [target]
      this.#waitsFor = 'answer'
      this.#start(driving, targets)
    } catch (error) {
      this.#end(() => this.#reject(error))
    }
  }

  #start(engine: Engine, targets: readonly NativeTarget[]): void {
    this.#engine = engine
    this.#targets = targets
    // The native side ends the attempt at one address in time. Short attempts need no timer.
    if (targets.length > 1) this.#limitTime()
    this.#begin()
  }

  #limitTime(): void {
    this.#limit ??= setTimeout(() => {
      const why = systemError('ETIMEDOUT', this.#plan.name)
      this.#end(() => this.#reject(failure(this.#plan, why, late[this.#waitsFor])))
    }, this.#leftMs())
  }

  #leftMs(): number {
    return Math.max(1, Math.ceil(this.#endsAt - performance.now()))
  }

  /** The next address, if there is one. */
  #begin(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    if (this.#over) return
    const target = this.#targets[this.#next]
    if (!target) {
      if (this.#running.length === 0) this.#end(() => this.#reject(this.#failure()))
      return
    }
    this.#next++
    this.#attempt(target)
    if (!this.#over && this.#next < this.#targets.length && this.#running.length !== 0) {
      this.#timer = setTimeout(() => this.#begin(), this.#options.attemptDelayMs)
    }
  }

  #attempt(target: NativeTarget): void {
    const { listener, native, context } = this.#options
    const { local } = this.#plan
    // A port of our own without an address: the address that means any, of the same family.
    const any = 'host' in target && target.host.includes(':') ? '::' : '0.0.0.0'
    const from = local && { host: local.host === '' ? any : local.host, port: local.port }
    const attempt: Attempt = {
      request: -1,
      listener,
      context,
      ended: (result) => {
        this.#running.splice(this.#running.indexOf(attempt), 1)
        this.#ended(target, result)
      },
    }
    try {
      const failed = this.#engine.attempts.begin(target, from, native, this.#leftMs(), attempt)
      if (failed === undefined) this.#running.push(attempt)
      else this.#ended(target, failed)
    } catch (error) {
      this.#end(() => this.#reject(error))
    }
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
            `connect(): ${this.#plan.name}: the process has reached limits.connections or limits.memory: close connections, or raise the limit`,
          ),
        ),
      )
    }
    if (result === 'EAGAIN' && 'path' in target) {
      this.#limitTime()
      this.#timer = setTimeout(() => this.#attempt(target), unixRetryMs)
      return
    }
    const error = systemError(result, 'path' in target ? target.path : target.host, 'path' in target ? 0 : target.port)
    this.#failures = [...(this.#failures ?? []), error]
    this.#begin()
  }

  #end(settle: () => void): void {
    if (this.#over) return
    this.#over = true
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    if (this.#limit !== undefined) clearTimeout(this.#limit)
    if (this.#onAbort) this.#options.signal!.removeEventListener('abort', this.#onAbort)
    for (const { request } of this.#running) this.#engine.attempts.cancel(request)
    this.#running.length = 0
    settle()
  }

  #failure(): MultireactorError {
    const failures = this.#failures!
    const [first] = failures
    const code = (first as NodeJS.ErrnoException).code!
    const cause =
      failures.length === 1
        ? first!
        : Object.assign(new AggregateError(failures, `none of ${failures.length} addresses answered`), { code })
    return failure(this.#plan, cause, advice[code] ?? 'the kernel refused')
  }
}
