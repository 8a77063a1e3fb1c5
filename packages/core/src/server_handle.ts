import {
  closedError,
  contexts,
  currentContext,
  isBytes,
  MultireactorError,
  type NativePort,
  native,
  OptionReader,
  runFresh,
  sendOutcomes,
  shown,
  valueBytes,
  valueFrom,
} from '@multireactor/addon'
import { PendingRuns } from '@multireactor/pool/runs'
import { callResult, checkBytes, checkCallSize, checkPublication, deflatedFormOf, runFailure } from '@multireactor/reactor/app'
import { callsFull, noReactor, PendingCalls } from './pending_calls.js'
import { placeOfRun } from './server_description.js'
import { readStats, type ThreadStats } from './stats.js'

/** The outcome of a `send`: handed to the socket, waiting behind other bytes, connection closed, or above `outBuffer.max`. */
export type SendOutcome = (typeof sendOutcomes)[number]

/** Of `run` and `runTask`. */
export interface RunOptions {
  /** Whose app: the name of one of its listeners. Default: of the first app that has the hook. */
  listener?: string
  /** Ends the wait with its reason; a frame that has begun runs on, and its result is dropped. */
  signal?: AbortSignal
}

/** Options of `call` and `callAll`. */
export interface CallOptions {
  /** How long to wait for the answer. Default 30,000; 0: for ever. Accurate to 50 ms. */
  timeoutMs?: number
  /** Ends the wait with its reason; the app called may go on. */
  signal?: AbortSignal
}

/** A server, as any thread can reach it: made by `serve()`, given to `start`, or attached to by its token. */
export class ServerHandle {
  /** Give it to your own threads: `ServerHandle.of(token)` there. */
  readonly token: number
  readonly #port: NativePort
  /** Sends, answered with an index of `sendOutcomes`, and publications, answered with a number of subscribers. */
  readonly #waiting = new Map<number, { isSend: boolean; resolve: (outcome: number) => void }>()
  readonly #calls = new PendingCalls(() => this.#settled())
  readonly #runs: PendingRuns
  #local: { reactor: number; onCall: (bytes: Buffer) => unknown } | undefined
  #localCalls = 0
  #closed = false

  private constructor(runtime: number) {
    this.token = runtime
    this.#port = new native.Port(
      runtime,
      (request, outcome) => {
        const waiting = this.#waiting.get(request)
        if (!waiting) return
        this.#waiting.delete(request)
        this.#settled()
        waiting.resolve(outcome)
      },
      (request, outcome, bytes) => this.#calls.onOutcome(request, outcome, bytes),
      (run, flags, bytes) => this.#runs.onResult(run, flags, bytes),
      () => this.#runs.onRoom(),
    )
    this.#port.setReferenced(false)
    this.#runs = new PendingRuns(
      this.#port,
      () => this.#settled(),
      (flags, bytes) => runFailure(bytes, flags),
    )
  }

  /** Any thread of the process. Throws `ERR_MR_CLOSED` when there is no such server, `ERR_MR_OPTION_TYPE` for a value that is not a token. Close it when done. */
  static of(token: number): ServerHandle {
    // It crosses as 32 bits.
    if (!Number.isInteger(token) || token < 0 || token > 0xffff_ffff) {
      throw new MultireactorError(
        'ERR_MR_OPTION_TYPE',
        `ServerHandle.of(): the token must be the number that server.token of serve() says, and is ${shown(token)}: give it to your thread as workerData`,
      )
    }
    try {
      return new ServerHandle(token)
    } catch (cause) {
      // Native code knows no class of ours.
      if ((cause as { code?: unknown }).code !== 'ERR_MR_CLOSED') throw cause
      throw new MultireactorError(
        'ERR_MR_CLOSED',
        `ServerHandle.of(): this process has no server with the token ${token}: it has closed, or the token is of another process`,
      )
    }
  }

  /**
   * Sends bytes to a connection, whichever reactor owns it; they go between two replies. Resolves to `'sent'` (the kernel has
   * them), `'buffered'` (the peer is slow), `'gone'` (it has closed) or `'full'` (refused:
   * the peer is so slow that it has been closed, or too much lies in its reactor's mailbox).
   */
  send(id: bigint, data: string | Uint8Array): Promise<SendOutcome> {
    if (this.#closed) return Promise.reject(closedError('the server'))
    if (typeof id !== 'bigint')
      return Promise.reject(
        new MultireactorError('ERR_MR_DATA', `send(): the id must be the bigint of conn.id, and is ${shown(id)}`),
      )
    if (!isBytes(data)) {
      return Promise.reject(
        new MultireactorError('ERR_MR_DATA', `send(): the data must be a string or Uint8Array, and is ${shown(data)}`),
      )
    }
    const request = this.#port.send(id, data)
    if (request === -1) return Promise.resolve('gone')
    if (request === -2) return Promise.resolve('full')
    return this.#outcome(request, true).then((outcome) => sendOutcomes[outcome]!)
  }

  /**
   * Sends bytes to every connection of the server that has subscribed to `topic`, on any reactor; they go between two replies.
   * Copied once, before the call returns. Every subscriber sees the publications of a topic in the same order. Resolves to the number of
   * subscribers that it was sent to, or waits for; `'full'`: refused, since too many bytes of its topic wait for a reactor that does not come
   * to them. Rejects with `ERR_MR_TOPIC`, `ERR_MR_DATA` and `ERR_MR_CLOSED`.
   */
  publish(topic: string, data: string | Uint8Array): Promise<number | 'full'> {
    try {
      if (this.#closed) throw closedError('the server')
      checkPublication('publish()', topic, data)
    } catch (error) {
      return Promise.reject(error)
    }
    const deflated = deflatedFormOf(data)
    const request = this.#port.publish(topic, data, deflated?.bytes, deflated?.windowBits)
    if (request === -1) return Promise.resolve(0)
    if (request === -2) return Promise.resolve('full')
    return this.#outcome(request, false)
  }

  /**
   * Runs the `onCall` hook of the app on the thread of a reactor, and resolves to its result. Every reactor has one state of its own in
   * its thread: so are keys sharded. Calls of one thread to one reactor begin in the order in which they were made. On the reactor's own
   * thread the hook runs at once, on the very bytes; otherwise they are copied before the call returns. A reload, and a thread that is
   * replaced, leave calls that have not begun to the next thread. Rejects with the error of the hook, and with `ERR_MR_NO_REACTOR`,
   * `ERR_MR_NO_HOOK`, `ERR_MR_THREAD_LOST` (the hook had begun), `ERR_MR_CALL_TIMEOUT`, `ERR_MR_CALL_TOO_LARGE`, `ERR_MR_CALLS_FULL`,
   * `ERR_MR_CLOSED`, or the signal's reason.
   */
  async call(reactor: number, bytes: string | Uint8Array, options: CallOptions = {}): Promise<Buffer> {
    if (this.#closed) throw closedError('the server')
    checkBytes('call()', bytes)
    checkCallSize('call(): the bytes', bytes)
    const read = new OptionReader('call()', options, ['timeoutMs', 'signal'])
    const timeoutMs = read.integer('timeoutMs', 30_000, 0, 0x7fff_ffff)
    const signal = read.signal()
    signal?.throwIfAborted()
    // It crosses as 32 bits.
    if (!Number.isInteger(reactor) || reactor < 0 || reactor > 0xffff_ffff) throw noReactor(reactor)
    this.#calls.checkRoom()
    if (this.#local?.reactor === reactor) return this.#callHere(this.#local.onCall, reactor, bytes, timeoutMs, signal)
    const number = this.#port.callReactor(reactor, bytes)
    if (number === -1) throw noReactor(reactor)
    if (number === -2) throw callsFull(`64 MiB wait in the mailbox of reactor ${reactor}`)
    const answer = this.#calls.add(number, reactor, timeoutMs, signal)
    if (this.#calls.size === 1) this.#settled()
    return answer
  }

  /**
   * Calls every running reactor, and resolves to their answers, by the number of the reactor. Rejects with the first error, as `call` does;
   * the other hooks run all the same.
   */
  async callAll(bytes: string | Uint8Array, options: CallOptions = {}): Promise<Buffer[]> {
    if (this.#closed) throw closedError('the server')
    return Promise.all(Array.from({ length: this.reactors }, (_, reactor) => this.call(reactor, bytes, options)))
  }

  /**
   * Runs `parse` of an app in the pool, on a copy of `bytes` that came by no connection, and resolves to its result, the parts
   * joined. Rejects with the error of `parse`, and with `ERR_MR_NO_POOL`, `ERR_MR_NO_LISTENER`, `ERR_MR_QUEUE_FULL` (`onQueueFull: 'reject'` or
   * `'close'`; otherwise it waits for room), `ERR_MR_TASK_TOO_LARGE`, `ERR_MR_TASK_TIMEOUT`, `ERR_MR_TASK_LOST`, `ERR_MR_OVERLOADED`,
   * `ERR_MR_DATA`, `ERR_MR_CLOSED`, or the signal's reason. Work that has begun runs on when it is aborted; its result is dropped.
   */
  async run(bytes: string | Uint8Array, options: RunOptions = {}): Promise<Buffer> {
    if (this.#closed) throw closedError('the server')
    checkBytes('run()', bytes)
    return this.#run('run()', bytes, 'parse', options)
  }

  /**
   * Runs `task` of an app in the pool, on a copy of `value` as `v8.serialize` takes it, and resolves to a copy of its
   * result. Rejects as `run` does; `ERR_MR_DATA` for a value that cannot be copied.
   */
  async runTask<Result = unknown>(value: unknown, options: RunOptions = {}): Promise<Result> {
    if (this.#closed) throw closedError('the server')
    const bytes = valueBytes('runTask(): the value', value)
    return valueFrom(await this.#run('runTask()', bytes, 'task', options)) as Result
  }

  #run(call: string, bytes: string | Uint8Array, hook: 'parse' | 'task', options: RunOptions): Promise<Buffer> {
    const read = new OptionReader(call, options, ['listener', 'signal'])
    const name = read.string('listener')
    const signal = read.signal()
    signal?.throwIfAborted()
    const { listener, waits } = placeOfRun(call, this.token, hook, name, Buffer.byteLength(bytes as string))
    const result = this.#runs.add({ listener, bytes, isValue: hook === 'task', signal }, waits)
    if (!result) throw new MultireactorError('ERR_MR_QUEUE_FULL', `${call}: the task queue is full, and the server rejects`)
    return result
  }

  /** How many reactors run: they are numbered from 0. */
  get reactors(): number {
    return this.#closed ? 0 : native.activeReactors(this.token)
  }

  /**
   * Destroys a connection, on any reactor, as `conn.destroy()` does there, after the bytes that this thread has sent to it. Resolves to
   * false when it has closed already.
   */
  async destroy(id: bigint): Promise<boolean> {
    if (this.#closed) throw closedError('the server')
    if (typeof id !== 'bigint') {
      throw new MultireactorError('ERR_MR_DATA', `destroy(): the id must be the bigint of conn.id, and is ${shown(id)}`)
    }
    const request = this.#port.destroy(id)
    return request >= 0 && sendOutcomes[await this.#outcome(request, true)] === 'sent'
  }

  #callHere(
    onCall: (bytes: Buffer) => unknown,
    reactor: number,
    bytes: string | Uint8Array,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Buffer> | Buffer {
    const result = onCall(asBuffer(bytes))
    if (typeof (result as PromiseLike<unknown> | undefined)?.then !== 'function') return asBuffer(callResult(result))
    // Not one of the native side's numbers.
    const number = -++this.#localCalls
    const promise = this.#calls.add(number, reactor, timeoutMs, signal)
    ;(result as PromiseLike<unknown>)
      .then((value) => this.#calls.onOutcome(number, 0, asBuffer(callResult(value))))
      .then(undefined, (error: unknown) => this.#calls.reject(number, error))
    return promise
  }

  /** @internal The app of a reactor takes calls on this thread. */
  hostCalls(reactor: number, onCall: (bytes: Buffer) => unknown): void {
    // The hook runs on the stack of its caller, but in a context as if the caller were another thread.
    const [base, first] = [currentContext(), currentContext()]
    const inContext = (bytes: Buffer): unknown =>
      contexts.used ? runFresh(base, onCall, undefined, bytes) : first.runInAsyncScope(onCall, undefined, bytes)
    this.#local = { reactor, onCall: inContext }
  }

  /** A thread without other work must live until its pending results arrive. */
  #settled(): void {
    if (!this.#closed) this.#port.setReferenced(this.#waiting.size + this.#calls.size + this.#runs.size > 0)
  }

  #outcome(request: number, isSend: boolean): Promise<number> {
    return new Promise((resolve) => {
      this.#waiting.set(request, { isSend, resolve })
      if (this.#waiting.size === 1) this.#settled()
    })
  }

  /** Counters of all threads of the server. Never waits. Throws `ERR_MR_CLOSED` when the server has closed. */
  stats(): ThreadStats {
    if (this.#closed) throw closedError('the server')
    return readStats(this.token)
  }

  /** Pending sends resolve to `'gone'`, pending publications to 0; pending calls and runs reject with `ERR_MR_CLOSED`. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#runs.failAll(closedError('the server'))
    this.#port.close()
    for (const { isSend, resolve } of this.#waiting.values()) resolve(isSend ? sendOutcomes.indexOf('gone') : 0)
    this.#waiting.clear()
    this.#calls.close()
  }
}

function asBuffer(bytes: string | Uint8Array): Buffer {
  return typeof bytes === 'string' ? Buffer.from(bytes) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
