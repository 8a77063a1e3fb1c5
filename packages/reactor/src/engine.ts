import { Buffer } from 'node:buffer'
import {
  type Context,
  causedByPeer,
  closeReasons,
  column as columns,
  contexts,
  event as events,
  eventRow as rowTable,
  framingResult,
  hookBit,
  inOurClass,
  isBytes,
  isPeersDoing,
  MultireactorError,
  native,
  type NativeListener,
  type NativeReactorDriver,
  type NativeTarget,
  replyFlag,
  restoreFlag,
  shown,
  submitHow,
  toEnvelope,
  undetachable,
  wireLimit,
} from '@multireactor/addon'
import { balanceFresh } from './balance.js'
import { util } from './builtins.js'
import { answerCall } from './calls.js'
import { type ConnectionLink, notStopped } from './connection_link.js'
import { LiveConnection } from './live_connection.js'
import { ignorable, runFailure } from './pool_runs.js'
import { ConnectionContexts } from './connection_contexts.js'
import { type EngineListener, type ListenerOffer, hooksOf, nativeListener, readMaxPending } from './engine_listener.js'
import { engineSideOf, type MessageIn } from './engine_side.js'
import { type Framing, raw } from './framing.js'
import { ReactorHandle } from './handle.js'
import { dearRows, firstDear, HookTime } from './hook_time.js'
import type { BadFrame } from './handlers.js'
import type { ListenTls } from './tls_options.js'
import { decodeState, encodeState } from './state.js'
import { WriteBox } from './write_box.js'
import type { SecureLayer } from './secure_layer.js'
import { leastPiece } from './piece_size.js'
import { Slabs } from './slabs.js'
import type { ConnectionStream } from './stream.js'
import { UnreadBytes } from './unread.js'
import { GrowingBytes } from './waiting_bytes.js'

/** Frames that run on this thread instead of in the pool. Who runs them is not this package's business. */
export interface InlineFrames {
  run(rows: Uint32Array, at: number, slab: ArrayBuffer): void
  place(slot: number, generation: number, frame: Buffer): void
  endBatch(): void
  credit(stream: number, amount: number, gone: boolean): void
  gone(low: number, high: number): void
  overrun(key: number, ns: number): void
  close(): void
}

export interface EngineEvents {
  /** A hook of a connection threw or rejected; the connection has been closed. */
  handlerError(error: unknown, hook: string, listener: string): void
  acceptError(errno: number, listener: string): void
  /** A connection was closed because its peer left too much unread. */
  slowConsumer?: ((listener: string) => void) | undefined
  /** Another thread has called the app. What it returns, or resolves to, is the answer; without this there is no hook. */
  onCall?: ((bytes: Buffer) => unknown) | undefined
  /** After `drain`: the last listener and connection of this reactor have closed. */
  drained(): void
}

/** How an attempt to connect ends: with a connection, an errno's name, or what the `open` hook threw. */
// biome-ignore lint/suspicious/noExplicitAny: `open` decides
export type ConnectResult = ConnectionLink<any> | string | Error

/** An attempt to connect that is under way. */
export interface Attempt {
  /** Its number. */
  request: number
  readonly listener: EngineListener
  /** In which the hooks of the connection run. */
  readonly context: Context
  /** Called once, and not after `cancelConnect`. */
  readonly ended: (result: ConnectResult) => void
}

/** So long fresh connections wait for the next thread in the hope that this one has only busy connections, */
const mostBusyMs = 250
/** and so long before the time is over idle ones are ended. */
const mostLastMs = 2_500

/** Less than this is shown once more with what comes behind it, which costs little and keeps no memory. */
const leastHeld = 4 << 10

/** Frames of a custom framer between two looks at the clock. */
const framesALook = 8

// Constants of this module are folded into the code of a hot path; those of another one are loaded each time.
const event = events
const eventRow = rowTable
const column = columns
/** The event of a row, in its first word. */
const eventMask = (1 << eventRow.waitingShift) - 1

/** Of a connection's id: above slot and generation. */
const homeShift = BigInt(wireLimit.idSlotBits + 32)

/** Those that drive a reactor on this thread. */
const driving = new Set<Engine>()

/** Between this event and the end of the thread there is no turn: what its hooks have written leaves now, or with nobody. */
function onExit(): void {
  for (const engine of driving) engine.driver.flush()
}

/**
 * Drives one native reactor on the current thread: turns its event batches into hook calls. Does not decide when to listen or
 * close; `Reactor` and the runtime do.
 */
export class Engine {
  readonly driver: NativeReactorDriver
  /** The connection whose `message` hook is running, up to its first await. */
  current: ConnectionLink | undefined
  /** The first place in the order that it has taken there, or -1. */
  place = -1
  readonly index: number
  draining = false
  readonly #runtime: number
  readonly #hasPool: boolean
  readonly #events: EngineEvents
  readonly #rows: Uint32Array
  readonly #slabs = new Slabs()
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly #connections: (ConnectionLink<any> | undefined)[] = []
  readonly #listeners: EngineListener[] = []
  /** By number, each in a box that is emptied: see `#takeConnect`. */
  readonly #connects = new Map<number, { attempt: Attempt | undefined }>()
  readonly #contexts = new ConnectionContexts()
  /** Of connections with a custom framer, by slot. */
  readonly #unread = new Map<number, UnreadBytes>()
  #handle: ReactorHandle | undefined
  readonly #runs = new Map<
    number,
    { call: string; parts: GrowingBytes | undefined; resolve(bytes: Buffer): void; reject(error: Error): void }
  >()
  readonly #box: WriteBox
  /** How much the connection whose frames are being handed out may still write before `write` says false. */
  #room = 0
  #roomOf: unknown
  #dispatching = false
  #batch = 0
  readonly #time = new HookTime()
  /** The rows at hand belong to the same batch as those before. */
  #goesOn = false
  /** So many bytes at once for a stream. */
  #flushAsked = false
  #onQuiet: (() => void) | undefined
  #frames: InlineFrames | undefined
  /** The connections that a stream of this thread owns. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly streams: Set<ConnectionLink<any>> = new Set()
  /** Something that is bound to this thread has closed. */
  #onBoundClosed: (() => void) | undefined
  /** Streams and layers that were there when the thread began to leave, and still are. */
  #early: Set<unknown> | undefined
  /** TLS of connections, by slot. */
  readonly #layers: (SecureLayer | undefined)[] = []
  #layerCount = 0
  #closing = false
  #closed = false

  /** Attaches to reactor `index` of a runtime. Throws `ERR_MR_WRONG_THREAD` when another living thread drives it. */
  constructor(runtime: number, index: number, hasPool: boolean, events: EngineEvents, ownsRuntime = false) {
    this.index = index
    this.#runtime = runtime
    this.#hasPool = hasPool
    this.#events = events
    this.driver = new native.ReactorDriver(
      runtime,
      index,
      (count, oldest, current, more) => this.#onEvents(count, oldest, current, more),
      (size, id) => this.#newSlab(size, id),
      ownsRuntime,
    )
    this.#rows = this.driver.eventRows
    this.#box = new WriteBox(this.driver)
    if (driving.size === 0) process.on('exit', onExit)
    driving.add(this)
  }

  /**
   * Registers what comes in by a listener; the number is for `driver.listen`. A reactor that another thread has driven knows its
   * listeners already: they get these hooks and options, in the order of their numbers.
   */
  addListener(offer: ListenerOffer): number {
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
    const side = engineSideOf(handlers)
    const highBytes = native.outHighBytes
    const mostBytes = native.outMaxBytes
    const maxPending = readMaxPending(where, options)
    const listener = { name, framing, handlers, toPool, run, side, dear: firstDear, highBytes, mostBytes, maxPending, secure }
    const number = this.#listeners.length
    inOurClass(() => {
      if (number >= this.driver.listenerCount()) this.driver.addListener(native)
      else this.driver.updateListener(number, native)
    })
    // Not one that was refused: numbers here and there would part.
    this.#listeners.push(listener)
    return number
  }

  /** Who runs the frames of listeners that are not `run: 'pool'`. Before the first turn. */
  runFramesWith(make: (driver: NativeReactorDriver) => InlineFrames): void {
    this.#frames = make(this.driver)
  }

  /** Begins to connect, for at most `timeoutMs`. The errno's name when it has failed at once: ECANCELED also when the thread has ended. */
  connect(
    target: NativeTarget,
    local: NativeTarget | undefined,
    client: NativeListener,
    timeoutMs: number,
    attempt: Attempt,
  ): string | undefined {
    const request = inOurClass(() => this.driver.connect(target, local, client, timeoutMs)) ?? 'ECANCELED'
    if (typeof request === 'string') return request
    attempt.request = request
    this.#connects.set(request, { attempt })
    return undefined
  }

  cancelConnect(request: number): void {
    this.#takeConnect(request)
    this.driver.cancelConnect(request)
  }

  /**
   * A Map that grows leaves its old table behind, as it was, with a pointer to the new one: once the collector of the young has taken a dead
   * table for an old one, all that it and those behind it hold stay until the heap is marked. So they hold empty boxes.
   */
  #takeConnect(request: number): Attempt | undefined {
    const box = this.#connects.get(request)
    if (!box) return undefined
    const { attempt } = box
    box.attempt = undefined
    this.#connects.delete(request)
    return attempt
  }

  /** What user code gets of it. */
  get handle(): ReactorHandle {
    this.#handle ??= new ReactorHandle(this.index, this)
    return this.#handle
  }

  /** Drives no more. Who is still connecting hears that it was in vain. */
  close(): void {
    this.#hearLast()
    this.#frames?.close()
    // Timers and promises of this thread may still have them in hand.
    for (const conn of this.#connections) conn?.markLeft()
    this.#closed = true
    driving.delete(this)
    if (driving.size === 0) process.removeListener('exit', onExit)
    this.driver.close()
    const connects = [...this.#connects.values()]
    this.#connects.clear()
    for (const { attempt } of connects) attempt?.ended('ECANCELED')
  }

  /** New certificates for the handshakes of a listener from now on. */
  setTls(listener: number, tls: ListenTls): void {
    this.#listeners[listener]!.secure!.replace(tls)
  }

  /** The first connection whose data cannot go to another thread, or nothing. Runs no hook. */
  unclonable(): Error | undefined {
    for (const conn of this.#connections) {
      if (!conn?.isOpen || conn.data === undefined || conn.engineListener.isClient) continue
      if (conn.engineListener.handlers.suspend) continue
      if (conn.stream || conn.secure) continue // they do not go
      try {
        encodeState(conn.data)
      } catch (cause) {
        return new MultireactorError(
          'ERR_MR_STATE',
          `the data of a connection of listener ${conn.listener} cannot be cloned, and the app has no suspend hook: ${toEnvelope(cause).message}`,
          { cause },
        )
      }
    }
    return undefined
  }

  /**
   * Gets ready for another thread: feeds no hook any more, waits until no promise, deferred reply or run of a connection is
   * pending (at most `timeoutMs`; the connections of the rest close as `thread-lost`), and keeps their data. Then it is closed.
   */
  async suspend(timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs
    await this.#endStreams(timeoutMs)
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, until - performance.now()))
      this.#onQuiet = () => {
        clearTimeout(timer)
        resolve()
      }
      this.driver.quiesce()
    })
    await outOfTurn()
    this.#hearLast()
    const asked = new Set<unknown>()
    // biome-ignore lint/suspicious/noExplicitAny: as above
    const isNew = (conn: ConnectionLink<any> | undefined): boolean =>
      conn?.isOpen === true && !conn.engineListener.isClient && !(conn.stream || conn.secure) && !asked.has(conn)
    // While one is asked, another may come in. From the last look on nothing happens any more: all between two turns.
    while (this.#connections.some(isNew)) {
      for (const conn of this.#connections) {
        if (!conn || !isNew(conn)) continue
        asked.add(conn)
        const state = await this.#stateOf(conn)
        if (state !== undefined && conn.isOpen) conn.keepState(state)
      }
      await outOfTurn()
    }
    this.close()
    for (const conn of this.streams) conn.stream!.closed('thread-lost', 0)
    this.streams.clear()
    for (const layer of this.#layers) layer?.closed()
  }

  /** The hooks hear of what closes with this thread, or has closed since its last turn: the next one knows nothing of it. */
  #hearLast(): void {
    for (let rows = this.driver.lastRows(); rows.length > 0; rows = this.driver.lastRows()) {
      for (let at = 0; at < rows.length; at += eventRow.words) {
        try {
          if (contexts.used) this.#onEventIn(rows, at)
          else this.#onFirstEvents(rows, at)
        } catch (error) {
          this.#onEscaped(error, rows, at)
        }
      }
    }
  }

  /**
   * Lets what is bound to this thread end: streams, and connections with TLS. Siblings take fresh connections meanwhile. Where there is no
   * sibling, those wait for the next thread while this one has only busy connections, which end in a moment; idle ones stay, and while
   * they do, fresh ones are served here. What is still there near the end of `timeoutMs` is ended, and cut behind that.
   */
  async #endStreams(timeoutMs: number): Promise<void> {
    const left = (): number => this.streams.size + this.#layerCount
    if (left() === 0) return this.#askStreamsToEnd(false)
    const { driver } = this
    const until = performance.now() + timeoutMs
    const lastMs = Math.min(mostLastMs, timeoutMs / 2)
    this.#sayLastWords(true)
    driver.relieve()
    const early = new Set<unknown>([...this.streams, ...this.#layers.filter((layer) => layer !== undefined)])
    this.#early = early
    this.#askStreamsToEnd(true)
    await this.#untilNone(left, Math.min(mostBusyMs, timeoutMs / 4))
    if (left() > 0) {
      driver.welcome()
      await this.#untilNone(() => early.size, until - lastMs - performance.now())
      driver.relieve()
      this.#sayLastWords(true)
      driver.endSecure(Math.floor(lastMs * 0.8))
      for (const { name, side } of this.#listeners) {
        this.#guarded('drain', name, () => side?.existingServer?.endIdle())
      }
      await this.#untilNone(left, until - performance.now())
    }
    this.#early = undefined
  }

  /** Until none of those is left, or so many ms have passed. */
  async #untilNone(left: () => number, ms: number): Promise<void> {
    if (left() === 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, ms))
      this.#onBoundClosed = () => {
        if (left() !== 0) return
        clearTimeout(timer)
        resolve()
      }
    })
    this.#onBoundClosed = undefined
  }

  #askStreamsToEnd(idleStay: boolean): void {
    this.#closing = true
    for (const { name, side } of this.#listeners) {
      this.#guarded('drain', name, () => side?.existingServer?.closing(idleStay))
    }
    for (const conn of this.streams) this.#guarded('stream', conn.listener, () => conn.stream!.closing())
  }

  /** What the app does beside its hooks may throw: the others hear all the same. */
  #guarded(hook: string, listener: string, call: () => void): void {
    try {
      call()
    } catch (error) {
      this.report(error, hook, listener)
    }
  }

  #sayLastWords(boundOnly: boolean): void {
    for (const { side } of this.#listeners) side?.beforeDrain?.(boundOnly)
  }

  /** The server is closing, or the thread is leaving: fresh streams are to end soon. */
  get closing(): boolean {
    return this.#closing
  }

  /** `driver.drain`, and the streams of this thread end as their owners see fit. */
  drain(lingerMs: number): void {
    this.draining = true
    this.#sayLastWords(false)
    this.#askStreamsToEnd(false)
    this.driver.drain(lingerMs)
  }

  /** `driver.retire`; what streams own does not go along: it ends here. */
  retire(): void {
    this.#sayLastWords(true)
    this.#askStreamsToEnd(false)
    this.driver.retire(false)
  }

  /** What `restore` gets in the next thread. Closes the connection when it cannot be had. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  async #stateOf(conn: ConnectionLink<any>): Promise<Uint8Array | undefined> {
    const { suspend } = conn.engineListener.handlers
    const { slot, generation } = conn
    try {
      const state: unknown = !suspend
        ? conn.data
        : await (contexts.used ? this.#contexts.run(slot, generation, suspend, conn) : suspend(conn))
      return state === undefined ? undefined : encodeState(state)
    } catch (error) {
      this.report(error, 'suspend', conn.listener)
      conn.destroy('thread-lost')
      return undefined
    }
  }

  /** For bytes of a peer that wait in JavaScript: counts as received until it is collected. Not zeroed. */
  readonly allocate = (bytes: number): Buffer => Buffer.from(undetachable(native.newSlab(this.#runtime, bytes)))

  idOf(slot: number, generation: number): bigint {
    return (BigInt(this.index) << homeShift) | (BigInt(slot) << 32n) | BigInt(generation)
  }

  /** A call on a connection that has closed. */
  countLateCall(): void {
    this.driver.countLateCall()
  }

  /** A message of a hook was not sent, its peer being slow. */
  countDropped(): void {
    this.driver.countDropped()
  }

  isThere(slot: number, generation: number): boolean {
    return !this.#closed && this.driver.details(slot, generation) !== undefined
  }

  /** Work that nobody takes would never settle. */
  checkPool(call: string, listener: EngineListener, hook: 'parse' | 'task' = 'parse'): void {
    if (listener.isClient) {
      throw new MultireactorError(
        'ERR_MR_NO_POOL',
        `${call}: the connection to ${listener.name} is one that this server has made, and has no parse: hand the frame to the pool by the connection that it is for`,
      )
    }
    const { task } = listener.handlers as { task?: unknown }
    if (!this.#hasPool || (hook === 'parse' ? !listener.toPool : task === undefined)) {
      throw new MultireactorError(
        'ERR_MR_NO_POOL',
        this.#hasPool
          ? `${call}: the app has no ${hook} hook to hand this to: give it one`
          : `${call}: there is no pool to hand this to: start the server with pool: 1 or more, and give the app a ${hook} hook`,
      )
    }
  }

  /**
   * A hook has failed. The one place where that is told: what a peer brings about by leaving, or by breaking the rules, is counted as the close
   * of its connection and not told.
   */
  report(error: unknown, hook: string, listener: string): void {
    if (isPeersDoing(error)) return
    this.#events.handlerError(error, hook, listener)
  }

  /** The batch being handed out, whose rest is not for a connection that stops now; -1 between batches, where nothing is left over. */
  get batch(): number {
    return this.#dispatching ? this.#batch : -1
  }

  /** See `Connection.markWriteFull`. */
  stopWhileFull(slot: number, generation: number): void {
    const conn = this.#dispatching ? this.#connections[slot] : undefined
    if (conn?.generation === generation) conn.markWriteFull()
  }

  setFraming(slot: number, generation: number, framing: Framing, rawEnd: number): void {
    const done = inOurClass(() => this.driver.setFraming(slot, generation, framing.native, rawEnd))
    if (done === framingResult.gone) this.countLateCall()
    if (done === framingResult.tooMany) {
      throw new MultireactorError(
        'ERR_MR_LIMIT',
        'setFraming(): the connections of this reactor have some 65,000 different framings: use equal ones for most of them',
      )
    }
  }

  awaitRun(number: number, call: string): Promise<Buffer> {
    return ignorable(new Promise((resolve, reject) => this.#runs.set(number, { call, parts: undefined, resolve, reject })))
  }

  /** Takes a write of the running `message` hook. False: there is no room, or it is above the high water mark; call the driver. */
  box(slot: number, generation: number, data: string | Uint8Array, most: number): boolean {
    const length = this.#box.add(slot, generation, data, most, this.#room)
    if (length < 0) {
      this.#time.soon()
      this.#room = 0 // how much waits is not known here any more
      return false
    }
    this.#room -= length
    return true
  }

  /** Something was written: inside a turn it leaves with the turn, otherwise at the end of this microtask round. */
  touched(): void {
    if (this.#dispatching || this.#flushAsked) return
    this.#flushAsked = true
    queueMicrotask(() => {
      this.#flushAsked = false
      this.driver.flush()
    })
  }

  /**
   * Takes text at the place of the frame at hand, however much waits already: the reply of a protocol that asks nothing about room.
   * False: it does not fit; call the driver.
   */
  reply(slot: number, generation: number, text: string, most: number, ascii: boolean): boolean {
    const length = this.#box.add(slot, generation, text, most, Infinity, ascii)
    this.#room -= length
    return length >= 0
  }

  // ---------------------------------------------------------------- events

  #newSlab(size: number, id: number): Uint8Array {
    // Not zeroed: every byte that is handed out has been received.
    const slab = undetachable(native.newSlab(this.#runtime, size))
    this.#slabs.add(id, slab)
    return new Uint8Array(slab)
  }

  #onEvents(count: number, oldest: number, current: number, more: number): void {
    const rows = this.#rows
    // Behind the rows: how far this thread has got with them, for the native side in case it dies there.
    const progressAt = rows.length - 1
    const time = this.#time
    this.#dispatching = true
    this.#roomOf = undefined
    if (!this.#goesOn) time.begin()
    for (let i = 0; i < count; i++) {
      if (i >= time.lookAt && this.#isOver(rows, i) && this.#handBack(rows, i)) continue
      rows[progressAt] = 2 * i + 1
      try {
        if (contexts.used) this.#onEventIn(rows, i * eventRow.words)
        else this.#onFirstEvents(rows, i * eventRow.words)
      } catch (error) {
        this.#onEscaped(error, rows, i * eventRow.words)
      }
      rows[progressAt] = 2 * i + 2
    }
    this.#frames?.endBatch()
    this.#dispatching = false
    this.#goesOn = more !== 0
    if (this.#goesOn) return time.goOn(count)
    this.#batch++
    // What is older than this batch has been handed over.
    this.#slabs.keepFrom(oldest, current)
  }

  /** Asked before row `row`. A listener one of whose hooks took long is watched more closely for some time. */
  #isOver(rows: Uint32Array, row: number): boolean {
    const over = this.#time.isOver(row)
    if (this.#time.long && row > 0) {
      const conn = this.#connections[rows[(row - 1) * eventRow.words + eventRow.slot]!]
      if (conn) conn.engineListener.dear = dearRows
    }
    return over
  }

  /**
   * The hooks of this batch have had their time. Frames wait for the next turn, where the native side cuts them again; other connections
   * come first there. Everything else runs: it comes once for each connection, and nobody would tell it again. True: this row waits.
   */
  #handBack(rows: Uint32Array, row: number): boolean {
    const at = row * eventRow.words
    const kind = rows[at]! & eventMask
    if (kind !== event.frame && kind !== event.received && kind !== event.badFrame) return false
    const slot = rows[at + eventRow.slot]!
    const conn = this.#connections[slot]
    if (!conn?.isOpen || rows[at]! >>> eventRow.waitingShift === eventRow.lastChance) return false
    if (conn.stoppedIn !== this.#batch) this.#waitBehind(conn, this.#time.before + row)
    return true
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  #waitBehind(conn: ConnectionLink<any>, begun: number): void {
    const { slot, generation, seenIn, rawEnd } = conn
    conn.stoppedIn = this.#batch
    this.driver.handBack(slot, generation, seenIn === this.#batch ? rawEnd : 0, begun)
  }

  /**
   * Hooks are called where what they throw is caught. A stream calls the app too, at its every event: what its listeners throw costs
   * their connection, and not the rest of the batch.
   */
  #onEscaped(error: unknown, rows: Uint32Array, at: number): void {
    this.current = undefined
    const conn = this.#connections[rows[at + eventRow.slot]!]
    if (conn?.stream) this.#failed(error, 'stream', conn)
    else this.report(error, '', '')
  }

  /** No storage has been entered on this thread yet. This event may be the first that does so. */
  #onFirstEvents(rows: Uint32Array, at: number): void {
    const { mark } = contexts
    this.#onEvent(rows, at)
    // What it has entered is its connection's from now on; the others begin with the context that the reactor was made in.
    if (contexts.mark === mark) return
    const generation = rows[at + eventRow.generation]!
    if (generation !== 0) this.#contexts.entered(rows[at + eventRow.slot]!, generation)
  }

  /** In the context of the connection that it is about. Frames that are to be parsed here have one each: see the pool. */
  #onEventIn(rows: Uint32Array, at: number): void {
    const kind = rows[at]! & eventMask
    if (kind === event.parse) return this.#onEvent(rows, at)
    const slot = rows[at + eventRow.slot]!
    const generation = rows[at + eventRow.generation]!
    if (generation === 0) return this.#contexts.runFresh(this.#onEventOf, rows, at)
    if (kind === event.connected) this.#adoptContext(slot, generation, rows[at + column.connected.request]!)
    this.#contexts.run(slot, generation, this.#onEventOf, rows, at)
    if (kind === event.close || kind === event.moved) this.#contexts.drop(slot)
  }

  readonly #onEventOf = (rows: Uint32Array, at: number): void => this.#onEvent(rows, at)

  #adoptContext(slot: number, generation: number, request: number): void {
    const connect = this.#connects.get(request)?.attempt
    if (connect) this.#contexts.adopt(slot, generation, connect.context)
  }

  #onEvent(rows: Uint32Array, at: number): void {
    const slot = rows[at + eventRow.slot]!
    switch (rows[at]! & eventMask) {
      case event.parse:
        return this.#frames!.run(rows, at, this.#slabs.of(rows[at + column.parse.slab]!))
      case event.frame:
        return this.#onFrame(this.#connections[slot], rows, at)
      case event.open:
        return this.#onOpen(slot, rows[at + eventRow.generation]!, this.#listeners[rows[at + column.open.listener]!]!)
      case event.received:
        return this.#onReceived(this.#connections[slot], slot, rows, at)
      case event.badFrame:
        return this.#onBadFrame(this.#connections[slot], rows, at)
      case event.cipher:
        return this.#onCipher(slot, rows, at)
      case event.plain:
        return this.#layers[slot]?.send(this.#bytesOf(rows, at, column.plain))
      case event.close:
        return this.#onClose(slot, rows, at)
      case event.end:
        if (this.#connections[slot]?.stream) return this.#connections[slot]!.stream!.ended()
        return this.#hook('end', this.#connections[slot])
      case event.drain:
        if (this.#connections[slot]?.stream) return this.#connections[slot]!.stream!.drained()
        return this.#hook('drain', this.#connections[slot])
      case event.timeout:
        if (this.#connections[slot]?.stream) return this.#connections[slot]!.stream!.timedOut()
        return this.#hook('timeout', this.#connections[slot])
      case event.callResult:
        return this.#onRunResult(rows, at)
      case event.restore:
        return this.#onResume(slot, rows, at)
      case event.handover:
        return void this.#onHandover(this.#connections[slot])
      case event.moved:
        return this.#onMoved(slot)
      case event.balance:
        return this.#onBalance(slot, rows[at + eventRow.generation]!, this.#listeners[rows[at + column.balance.listener]!]!)
      case event.quiet:
        return this.#onQuiet?.()
      case event.shrink:
        return this.#shrink()
      case event.credit:
        return this.#frames?.credit(
          rows[at + column.credit.stream]!,
          rows[at + column.credit.amount]!,
          rows[at + column.credit.gone] !== 0,
        )
      case event.gone:
        return this.#frames?.gone(rows[at + column.gone.idLow]!, rows[at + column.gone.idHigh]!)
      case event.overrun:
        return this.#frames?.overrun(rows[at + column.overrun.key]!, rows[at + column.overrun.ns]!)
      case event.connected:
        return this.#onConnected(slot, rows[at + eventRow.generation]!, rows[at + column.connected.request]!)
      case event.connectFailed:
        return this.#onConnectFailed(rows[at + column.connectFailed.request]!, rows[at + column.connectFailed.errno]!)
      case event.called:
        return this.#onCalled(rows, at)
      case event.drained:
        return this.#events.drained()
      case event.acceptError:
        return this.#onAcceptError(rows, at)
    }
  }

  #onCalled(rows: Uint32Array, at: number): void {
    const { slab, number } = column.called
    answerCall(this.driver, rows[at + number]!, this.#events.onCall, this.#slabs.bytes(rows, at + slab))
  }

  #onAcceptError(rows: Uint32Array, at: number): void {
    const { listener, errno } = column.acceptError
    this.#events.acceptError(rows[at + errno]!, this.#listeners[rows[at + listener]!]!.name)
  }

  #onOpen(slot: number, generation: number, listener: EngineListener): void {
    // biome-ignore lint/suspicious/noExplicitAny: `open` decides
    const conn = new LiveConnection<any>(this, listener, slot, generation, undefined)
    const layer = this.#layers[slot]
    if (layer) conn.secure = layer
    this.#connections[slot] = conn
    if (!listener.handlers.open) return
    try {
      this.#opened(conn, listener.handlers.open(conn))
    } catch (error) {
      this.#failed(error, 'open', conn)
    }
  }

  /** The data of a connection whose `open` is async is what its promise resolves to. Frames wait for it; a rejection counts as a throw. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  #opened(conn: ConnectionLink<any>, data: unknown): void {
    if (!isPromise(data)) {
      conn.data = data
      return
    }
    const { toPool, side, handlers } = conn.engineListener
    if (toPool && !side?.messageIn && !handlers.message) {
      // The pool gets frames without any hook, and sees no data.
      const kept = Promise.resolve(data).then((value) => this.#keepData(conn, value))
      return this.#watch(kept, 'open', conn)
    }
    conn.whileOpening(
      data,
      (value) => this.#keepData(conn, value),
      (error) => this.#failed(error, 'open', conn),
    )
  }

  /** A hook that has set `conn.data` itself, and resolves to nothing, keeps it. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  #keepData(conn: ConnectionLink<any>, value: unknown): void {
    if (value !== undefined) conn.data = value
  }

  #onBalance(slot: number, generation: number, listener: EngineListener): void {
    try {
      balanceFresh(this.driver, slot, generation, this.index, listener)
    } catch (error) {
      this.report(error, 'balance', listener.name)
    }
  }

  #onConnected(slot: number, generation: number, request: number): void {
    const connect = this.#takeConnect(request)
    // A storage may be entered later: by then it is not known any more where it was connected.
    if (connect && !contexts.used) this.#contexts.adopt(slot, generation, connect.context)
    // Cancelled when it was connected already.
    if (!connect) return void this.driver.destroy(slot, generation, closeReasons.indexOf('destroyed'))
    // biome-ignore lint/suspicious/noExplicitAny: `open` decides
    const conn = new LiveConnection<any>(this, connect.listener, slot, generation, undefined)
    this.#connections[slot] = conn
    try {
      this.#opened(conn, connect.listener.handlers.open?.(conn))
    } catch (error) {
      this.#failed(error, 'open', conn)
      return connect.ended(asError(error))
    }
    connect.ended(conn)
  }

  #onConnectFailed(request: number, errno: number): void {
    this.#takeConnect(request)?.ended(util().getSystemErrorName(-errno))
  }

  /** A connection that another thread has served. */
  #onResume(slot: number, rows: Uint32Array, at: number): void {
    // Without bytes there was no memory for them: the row itself holds the id, and the connection has closed.
    const { slab, offset } = column.restore
    const bytes = this.#bytesOf(rows, at, column.restore)
    const id = bytes ? bytes.readBigUInt64LE(0) : (BigInt(rows[at + offset]!) << 32n) | BigInt(rows[at + slab]!)
    const word = rows[at + column.restore.flags]!
    const listener = this.#listeners[word & 0xffff]!
    const flags = word >>> 16
    // biome-ignore lint/suspicious/noExplicitAny: `restore` decides
    const conn = new LiveConnection<any>(this, listener, slot, rows[at + eventRow.generation]!, undefined, id)
    this.#connections[slot] = conn
    if (flags & restoreFlag.ended) conn.markEnded()
    if (flags & (restoreFlag.webSocket | restoreFlag.dataLost)) conn.resumed = flags
    try {
      const state = flags & restoreFlag.hasState ? decodeState(bytes!.subarray(8)) : undefined
      conn.data = state
      const data: unknown = listener.handlers.restore?.(conn, state)
      if (data !== undefined) conn.data = data
      this.#watch(data, 'restore', conn)
    } catch (error) {
      this.#failed(error, 'restore', conn)
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  async #onHandover(conn: ConnectionLink<any> | undefined): Promise<void> {
    if (!conn) return
    const state = await this.#stateOf(conn)
    conn.moveNow(state)
    this.touched()
  }

  #onMoved(slot: number): void {
    this.#connections[slot]?.markMoved()
    this.#unread.delete(slot)
    this.#connections[slot] = undefined
  }

  /** Memory is short, and the collector is about to look: what keeps a slab for a few bytes of it copies them. */
  #shrink(): void {
    for (const conn of this.#connections) conn?.protocol?.shrink?.()
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  #onFrame(conn: ConnectionLink<any> | undefined, rows: Uint32Array, at: number): void {
    if (!conn?.isOpen) return
    const { stream } = conn
    if (conn.stoppedIn !== notStopped) {
      // Paused or reframed by an earlier frame of this batch: the native side cuts this one again.
      if (this.#batch === conn.stoppedIn) return
      if (conn.stopIfFull()) return
      conn.stoppedIn = notStopped
    }
    if (stream) {
      conn.seenIn = this.#batch
      conn.rawEnd = rows[at + column.frame.rawEnd]!
      return this.#toStream(conn, stream, this.#slabs.bytes(rows, at + column.frame.slab))
    }
    const listener = conn.engineListener
    const { side, highBytes } = listener
    if (listener.dear > 0) {
      listener.dear--
      this.#time.soon()
    }
    if (this.#roomOf !== conn) {
      this.#roomOf = conn
      this.#room = highBytes - (rows[at]! >>> eventRow.waitingShift) * eventRow.waitingUnit
    }
    const messageIn = side?.messageIn
    if (messageIn !== undefined) return this.#messageIn(conn, messageIn, rows, at)
    const frame = this.#slabs.bytes(rows, at + column.frame.slab)
    this.#message(conn, frame, rows[at + column.frame.rawEnd]!, rows[at + column.frame.info]!)
  }

  /**
   * What a stream's listeners do with many bytes at once may take long, such as a parser that finds ten thousand chunks in them: they get as
   * many as they have had time for.
   */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  #toStream(conn: ConnectionLink<any>, stream: ConnectionStream, bytes: Buffer): void {
    const { length } = bytes
    this.#time.soon()
    if (length <= leastPiece) return stream.received(bytes)
    const { pieces } = stream
    const end = conn.rawEnd
    for (let from = 0; from < length; ) {
      const to = Math.min(length, from + pieces.bytes)
      conn.rawEnd = end - length + to
      const since = performance.now()
      stream.received(to - from === length ? bytes : bytes.subarray(from, to))
      pieces.took(to - from, performance.now() - since)
      // Paused there, or ended: the native side knows by `rawEnd` what has been taken.
      if (to === length || !conn.isOpen || conn.stoppedIn === this.#batch) return
      if (this.#time.isOver(0)) return this.#waitBehind(conn, this.#time.before)
      from = to
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  #messageIn(conn: ConnectionLink<any>, hook: MessageIn, rows: Uint32Array, at: number): void {
    const { frame } = column
    const slab = this.#slabs.whole(rows[at + frame.slab]!)
    this.current = conn
    this.place = -1
    conn.seenIn = this.#batch
    conn.rawEnd = rows[at + frame.rawEnd]!
    try {
      hook(conn, slab, rows[at + frame.offset]!, rows[at + frame.length]!, rows[at + frame.info]!)
    } catch (error) {
      this.#failed(error, 'message', conn, this.place)
    }
    this.current = undefined
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  #message(conn: ConnectionLink<any>, frame: Buffer, rawEnd: number, info: number): void {
    this.current = conn
    this.place = -1
    conn.seenIn = this.#batch
    conn.rawEnd = rawEnd
    try {
      // A client may have none: what it is sent is of no interest then.
      const result: unknown = conn.engineListener.handlers.message?.(conn, frame, info)
      if (result !== undefined) this.#watchMessage(result, conn)
    } catch (error) {
      this.#failed(error, 'message', conn, this.place)
    }
    this.current = undefined
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  #onBadFrame(conn: ConnectionLink<any> | undefined, rows: Uint32Array, at: number): void {
    if (!conn?.isOpen) return
    // Stopped before it: found again when the connection goes on.
    if (this.#batch === conn.stoppedIn) return
    this.#roomOf = undefined
    this.#room = 0 // how much waits is not known here
    this.current = conn
    this.place = -1
    conn.seenIn = this.#batch
    conn.rawEnd = rows[at + column.badFrame.rawEnd]!
    const reason = closeReasons[rows[at + column.badFrame.reason]!]! as BadFrame['reason']
    const code = rows[at + column.badFrame.code]!
    try {
      this.#watch(conn.engineListener.handlers.badFrame!(conn, { reason, code }), 'badFrame', conn)
    } catch (error) {
      this.#failed(error, 'badFrame', conn)
    }
    this.current = undefined
  }

  /** Custom framing: what has come, behind what was left unread, cut here. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  #onReceived(conn: ConnectionLink<any> | undefined, slot: number, rows: Uint32Array, at: number): void {
    if (!conn?.isOpen) return
    if (conn.stoppedIn !== notStopped) {
      // Paused or reframed by a hook of this batch that came before: the native side cuts these bytes again.
      if (this.#batch === conn.stoppedIn) return
      if (conn.stopIfFull()) return
      conn.stoppedIn = notStopped
    }
    this.#roomOf = undefined
    this.#room = 0
    const generation = rows[at + eventRow.generation]!
    const unread = rows[at + column.received.unread] === 0 ? undefined : this.#unread.get(slot)
    let bytes = this.#slabs.bytes(rows, at + column.received.slab)
    try {
      if (unread) bytes = unread.append(bytes)
    } catch {
      return conn.destroy('system-error') // no memory
    }
    const listener = conn.engineListener
    const { cut, native: limits } = conn.framing
    let used = 0
    let needed = 0
    let frames = 0
    this.#time.start()
    while (used < bytes.length && conn.isOpen && conn.stoppedIn === notStopped) {
      const looks = frames !== 0 && (frames % framesALook === 0 || this.#time.lookAt === 0)
      if (looks && this.#time.isOver(0) && rows[at]! >>> eventRow.waitingShift !== eventRow.lastChance) {
        conn.seenIn = this.#batch
        conn.rawEnd = used
        this.#waitBehind(conn, this.#time.before)
        break
      }
      frames++
      let result: ReturnType<typeof readCut>
      try {
        result = readCut(cut!(used === 0 ? bytes : bytes.subarray(used)), bytes.length - used)
      } catch (error) {
        this.report(error, 'custom framer', listener.name)
        return conn.fail('malformed-frame', -1)
      }
      if (result.consumed === undefined) {
        needed = result.needed ?? 0
        if (bytes.length - used >= limits.maxBytes || needed > limits.maxBytes) return conn.fail('frame-too-large', -1)
        break
      }
      used += result.consumed
      if (result.frame === undefined) continue
      if (result.frame.length > limits.maxBytes) return conn.fail('frame-too-large', -1)
      const frame = Buffer.from(result.frame.buffer, result.frame.byteOffset, result.frame.byteLength)
      if (listener.handlers.message) this.#message(conn, frame, used, 0)
      else if (listener.run !== 'pool') this.#frames!.place(slot, generation, frame)
      else this.driver.submit(slot, generation, frame, submitHow.reply)
      if (used < bytes.length) conn.stopIfFull()
    }
    // A framer that wants twice as much or more is shown all of it then: that happens a few times only.
    const left = bytes.length - used
    const holds = left >= leastHeld && needed < 2 * left && this.#hold(slot, unread, bytes, used)
    if (!holds) this.#unread.delete(slot)
    this.driver.consumed(slot, generation, used, needed, holds)
  }

  /** False: there is no memory, and all of it is to be shown again. */
  #hold(slot: number, unread: UnreadBytes | undefined, bytes: Buffer, used: number): boolean {
    try {
      if (unread) unread.consume(used)
      else
        this.#unread.set(slot, new UnreadBytes(bytes.subarray(used), (size) => undetachable(native.newSlab(this.#runtime, size))))
      return true
    } catch {
      return false
    }
  }

  /** Of an event that may have none. */
  #bytesOf(rows: Uint32Array, at: number, columns: { slab: number; length: number }): Buffer | undefined {
    return rows[at + columns.length] === 0 ? undefined : this.#slabs.bytes(rows, at + columns.slab)
  }

  #onCipher(slot: number, rows: Uint32Array, at: number): void {
    let layer = this.#layers[slot]
    if (!layer) {
      const listener = this.#listeners[rows[at + column.cipher.listener]!]!
      layer = listener.secure!.layer(this, slot, rows[at + eventRow.generation]!)
      this.#layers[slot] = layer
      this.#layerCount++
    }
    this.#time.soon()
    layer.received(this.#bytesOf(rows, at, column.cipher))
  }

  #onLayerClosed(slot: number): void {
    const layer = this.#layers[slot]
    if (!layer) return
    this.#layers[slot] = undefined
    this.#layerCount--
    this.#early?.delete(layer)
    layer.closed()
  }

  #onClose(slot: number, rows: Uint32Array, at: number): void {
    this.#onLayerClosed(slot)
    this.#unread.delete(slot)
    if (!contexts.used) this.#contexts.drop(slot)
    const conn = this.#connections[slot]
    if (conn?.stream) this.streams.delete(conn)
    this.#early?.delete(conn)
    this.#onBoundClosed?.()
    if (!conn) return
    this.#connections[slot] = undefined
    const { close } = column
    const reason = closeReasons[rows[at + close.reason]! & 0xff]!
    conn.markClosed(
      reason,
      rows[at + close.readLow]! + rows[at + close.readHigh]! * 2 ** 32,
      rows[at + close.writtenLow]! + rows[at + close.writtenHigh]! * 2 ** 32,
    )
    for (const number of conn.runs ?? []) {
      const run = this.#runs.get(number)
      this.#runs.delete(number)
      if (!run) continue
      const message = `${run.call}: the connection closed (${reason}) before the result came`
      run.reject(causedByPeer(new MultireactorError('ERR_MR_CONNECTION_CLOSED', message)))
    }
    if (reason === 'slow-consumer') this.#events.slowConsumer?.(conn.listener)
    conn.stream?.closed(reason, rows[at + close.reason]! >>> 8)
    const listener = conn.engineListener
    if (!listener.handlers.close) return
    try {
      this.#watch(listener.handlers.close(conn, reason), 'close', conn)
    } catch (error) {
      this.#failed(error, 'close', conn)
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  #hook(name: 'end' | 'drain' | 'timeout', conn: ConnectionLink<any> | undefined): void {
    if (!conn?.isOpen) return
    try {
      this.#watch(conn.engineListener.handlers[name]!(conn), name, conn)
    } catch (error) {
      this.#failed(error, name, conn)
    }
  }

  #onRunResult(rows: Uint32Array, at: number): void {
    const { callResult } = column
    const number = rows[at + callResult.run]!
    const run = this.#runs.get(number)
    if (!run) return
    const flags = rows[at + callResult.flags]!
    const bytes = this.#slabs.bytes(rows, at + callResult.slab)
    if (flags & replyFlag.error) {
      run.reject(runFailure(bytes, flags))
    } else if (!(flags & replyFlag.last)) {
      run.parts ??= new GrowingBytes(this.allocate, Infinity)
      run.parts.push(bytes)
      return
    } else if (run.parts) {
      run.parts.push(bytes)
      run.resolve(run.parts.bytes)
    } else {
      run.resolve(bytes)
    }
    this.#runs.delete(number)
    this.#connections[rows[at + eventRow.slot]!]?.runs?.delete(number)
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  #watch(result: unknown, hook: string, conn: ConnectionLink<any>): void {
    if (!isPromise(result)) return
    conn.hold(true)
    Promise.resolve(result).then(
      () => conn.hold(false),
      (error: unknown) => {
        conn.hold(false)
        this.#failed(error, hook, conn)
      },
    )
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  #watchMessage(result: unknown, conn: ConnectionLink<any>): void {
    if (!isPromise(result)) return
    const own = this.place
    const next = conn.messagePending()
    Promise.resolve(result).then(
      () => conn.messageSettled(),
      (error: unknown) => {
        // First, so that nothing behind it is delivered.
        this.#failed(error, 'message', conn, own === -1 ? next : own)
        conn.messageSettled()
      },
    )
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  #failed(error: unknown, hook: string, conn: ConnectionLink<any>, place = -1): void {
    this.report(error, hook, conn.listener)
    if (hook !== 'close') conn.fail('handler-error', place)
  }
}

/** A promise of a hook may settle inside of a turn, whose rest still makes events. */
const outOfTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A promise where none is of use: its rejection is nobody's, and must not end the thread. */
function ignoreRejection(value: unknown): void {
  if (isPromise(value)) Promise.resolve(value).catch(() => {})
}

function asError(error: unknown): Error {
  try {
    if (error instanceof Error) return error
  } catch {
    // A Proxy may throw even there.
  }
  return new Error(toEnvelope(error).message)
}

/** Who makes one of its own may settle it twice, or throw: what is called in turn is a promise of Node's. */
function isPromise(value: unknown): value is PromiseLike<unknown> {
  return value !== undefined && value !== null && typeof (value as PromiseLike<unknown>).then === 'function'
}

/** What a custom framer returned, read once: it may be anything. */
function readCut(
  cut: unknown,
  available: number,
): { consumed?: number | undefined; needed?: number | undefined; frame?: Uint8Array | undefined } {
  if (cut === undefined) return {}
  const { consumed, needed, frame } = cut as { consumed?: number; needed?: number; frame?: Uint8Array }
  const fits =
    consumed !== undefined
      ? Number.isInteger(consumed) && consumed > 0 && consumed <= available
      : Number.isInteger(needed) && needed! > 0
  if (!fits) {
    ignoreRejection(cut)
    throw new MultireactorError(
      'ERR_MR_FRAMER',
      `a custom framer must return { consumed } from 1 to ${available}, { needed } or undefined, and returned ${shown(consumed ?? needed)}`,
    )
  }
  if (frame !== undefined && (typeof frame === 'string' || !isBytes(frame))) {
    throw new MultireactorError('ERR_MR_FRAMER', `a custom framer's 'frame' must be a Uint8Array, and is ${shown(frame)}`)
  }
  return { consumed, needed, frame }
}
