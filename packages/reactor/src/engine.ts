import {
  closeReasons,
  column as columns,
  contexts,
  event as events,
  eventRow as rowTable,
  inOurClass,
  type NativeReactorDriver,
  restoreFlag,
} from '@multireactor/addon'
import { balanceFresh } from './balance.js'
import { answerCall } from './calls.js'
import type { ConnectionLink } from './connection_link.js'
import { asError, Attempts } from './attempts.js'
import { CustomFrames } from './custom_frames.js'
import type { EngineEvents, InlineFrames } from './engine_core.js'
import { Suspension } from './suspension.js'
import { LiveConnection } from './live_connection.js'
import { ConnectionContexts } from './connection_contexts.js'
import { type EngineListener, type ListenerOffer, readListener } from './engine_listener.js'
import { ReactorHandle } from './handle.js'
import type { ListenTls } from './tls_options.js'
import { decodeState } from './state.js'
import type { SecureLayer } from './secure_layer.js'

// Constants of this module are folded into the code of a hot path; those of another one are loaded each time.
const event = events
const eventRow = rowTable
const column = columns
/** The event of a row, in its first word. */
const eventMask = (1 << eventRow.waitingShift) - 1

/** Those that drive a reactor on this thread. */
const driving = new Set<Engine>()

/** Between this event and the end of the thread there is no turn: the writes of its hooks leave now or never. */
function onExit(): void {
  for (const engine of driving) engine.driver.flush()
}

/**
 * Drives one native reactor on the current thread: turns its event batches into hook calls. Does not decide when to listen or
 * close; `Reactor` and the runtime do.
 */
export class Engine extends CustomFrames {
  readonly attempts: Attempts
  readonly #contexts = new ConnectionContexts()
  #handle: ReactorHandle | undefined
  /** The rows at hand belong to the same batch as those before. */
  #goesOn = false
  readonly #suspension: Suspension
  /** TLS of connections, by slot. */
  readonly #layers: (SecureLayer | undefined)[] = []
  #layerCount = 0

  constructor(runtime: number, index: number, hasPool: boolean, events: EngineEvents, ownsRuntime = false) {
    super(runtime, index, hasPool, events, ownsRuntime)
    this.attempts = new Attempts(this.driver)
    this.#suspension = new Suspension({
      driver: this.driver,
      connections: this.connections,
      listeners: this.listeners,
      streams: this.streams,
      layers: this.#layers,
      contexts: this.#contexts,
      layerCount: () => this.#layerCount,
      report: (error, hook, listener) => this.report(error, hook, listener),
      hearLast: () => this.#hearLast(),
      close: () => this.close(),
    })
    if (driving.size === 0) process.on('exit', onExit)
    driving.add(this)
  }

  /**
   * Registers a listener; the number is for `driver.listen`. A reactor that another thread has driven knows its
   * listeners already: they get these hooks and options, in the order of their numbers.
   */
  addListener(offer: ListenerOffer): number {
    const { listener, native } = readListener(offer)
    const number = this.listeners.length
    inOurClass(() => {
      if (number >= this.driver.listenerCount()) this.driver.addListener(native)
      else this.driver.updateListener(number, native)
    })
    // Not one that was refused: numbers here and there would part.
    this.listeners.push(listener)
    return number
  }

  /** Sets the loop that runs the frames of listeners that are not `run: 'pool'`. Before the first turn. */
  runFramesWith(make: (driver: NativeReactorDriver) => InlineFrames): void {
    this.frames = make(this.driver)
  }

  /** The handle for user code. */
  override get handle(): ReactorHandle {
    this.#handle ??= new ReactorHandle(this.index, this)
    return this.#handle
  }

  /** Drives no more. Pending connects fail. */
  close(): void {
    this.#hearLast()
    this.frames?.close()
    // Timers and promises of this thread may still have them in hand.
    for (const conn of this.connections) conn?.markLeft()
    this.isClosed = true
    driving.delete(this)
    if (driving.size === 0) process.removeListener('exit', onExit)
    this.driver.close()
    this.attempts.end()
  }

  /** New certificates for the handshakes of a listener from now on. */
  setTls(listener: number, tls: ListenTls): void {
    this.listeners[listener]!.secure!.replace(tls)
  }

  /** Calls the hooks for connections that close with this thread, or have closed since its last turn: the next one knows nothing of it. */
  #hearLast(): void {
    for (let rows = this.driver.lastRows(); rows.length > 0; rows = this.driver.lastRows()) {
      for (let at = 0; at < rows.length; at += eventRow.words) {
        try {
          if (contexts.used) this.#onEventIn(rows, at)
          else this.#onFirstEvents(rows, at)
        } catch (error) {
          this.onEscaped(error, rows, at)
        }
      }
    }
  }

  override get closing(): boolean {
    return this.#suspension.closing
  }

  /** The first connection whose data cannot go to another thread, or nothing. Runs no hook. */
  unclonable(): Error | undefined {
    return this.#suspension.unclonable()
  }

  /** Gets ready for another thread, for at most `timeoutMs`, and closes: see `Suspension.run`. */
  suspend(timeoutMs: number): Promise<void> {
    return this.#suspension.run(timeoutMs)
  }

  /** `driver.drain`, and the streams of this thread end as their owners see fit. */
  drain(lingerMs: number): void {
    this.draining = true
    this.#suspension.sayLastWords(false)
    this.#suspension.askStreamsToEnd(false)
    this.driver.drain(lingerMs)
  }

  /** `driver.retire`; connections of streams do not go along: they end here. */
  retire(): void {
    this.#suspension.sayLastWords(true)
    this.#suspension.askStreamsToEnd(false)
    this.driver.retire(false)
  }

  protected override onEvents(count: number, oldest: number, current: number, more: number): void {
    const rows = this.rows
    // Behind the rows: how far this thread has got with them, for the native side in case it dies there.
    const progressAt = rows.length - 1
    const time = this.time
    this.dispatching = true
    this.roomOf = undefined
    if (!this.#goesOn) time.begin()
    for (let i = 0; i < count; i++) {
      if (i >= time.lookAt && this.isOver(rows, i) && this.#handBack(rows, i)) continue
      rows[progressAt] = 2 * i + 1
      try {
        if (contexts.used) this.#onEventIn(rows, i * eventRow.words)
        else this.#onFirstEvents(rows, i * eventRow.words)
      } catch (error) {
        this.onEscaped(error, rows, i * eventRow.words)
      }
      rows[progressAt] = 2 * i + 2
    }
    this.frames?.endBatch()
    this.dispatching = false
    this.#goesOn = more !== 0
    if (this.#goesOn) return time.goOn(count)
    this.batchNumber++
    // Slabs older than this batch have been handed over.
    this.slabs.keepFrom(oldest, current)
  }

  /**
   * The hooks of this batch have had their time. Frames wait for the next turn, where the native side cuts them again; other connections
   * come first there. Everything else runs: it comes once for each connection, and would not be repeated. True: this row waits.
   */
  #handBack(rows: Uint32Array, row: number): boolean {
    const at = row * eventRow.words
    const kind = rows[at]! & eventMask
    if (kind !== event.frame && kind !== event.received && kind !== event.badFrame) return false
    const conn = this.connections[rows[at + eventRow.slot]!]
    if (!conn?.isOpen || rows[at]! >>> eventRow.waitingShift === eventRow.lastChance) return false
    if (conn.stoppedIn !== this.batchNumber) this.waitBehind(conn, this.time.before + row)
    return true
  }

  /** No storage has been entered on this thread yet. This event may be the first that does so. */
  #onFirstEvents(rows: Uint32Array, at: number): void {
    const { mark } = contexts
    this.#onEvent(rows, at)
    // The stores that it has entered belong to its connection from now on; the others begin with the context that the reactor was made in.
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
    const connect = this.attempts.get(request)
    if (connect) this.#contexts.adopt(slot, generation, connect.context)
  }

  #onEvent(rows: Uint32Array, at: number): void {
    const slot = rows[at + eventRow.slot]!
    switch (rows[at]! & eventMask) {
      case event.parse:
        return this.frames!.run(rows, at, this.slabs.of(rows[at + column.parse.slab]!))
      case event.frame:
        return this.onFrame(this.connections[slot], rows, at)
      case event.open:
        return this.#onOpen(slot, rows[at + eventRow.generation]!, this.listeners[rows[at + column.open.listener]!]!)
      case event.received:
        return this.onReceived(this.connections[slot], slot, rows, at)
      case event.badFrame:
        return this.onBadFrame(this.connections[slot], rows, at)
      case event.cipher:
        return this.#onCipher(slot, rows, at)
      case event.plain:
        return this.#layers[slot]?.send(this.bytesOf(rows, at, column.plain))
      case event.close:
        return this.#onClose(slot, rows, at)
      case event.end:
        if (this.connections[slot]?.stream) return this.connections[slot]!.stream!.ended()
        return this.hook('end', this.connections[slot])
      case event.drain:
        if (this.connections[slot]?.stream) return this.connections[slot]!.stream!.drained()
        return this.hook('drain', this.connections[slot])
      case event.timeout:
        if (this.connections[slot]?.stream) return this.connections[slot]!.stream!.timedOut()
        return this.hook('timeout', this.connections[slot])
      case event.callResult:
        return this.#onRunResult(rows, at)
      case event.restore:
        return this.#onResume(slot, rows, at)
      case event.handover:
        return void this.#onHandover(this.connections[slot])
      case event.moved:
        return this.#onMoved(slot)
      case event.balance:
        return this.#onBalance(slot, rows[at + eventRow.generation]!, this.listeners[rows[at + column.balance.listener]!]!)
      case event.quiet:
        return this.#suspension.quiet()
      case event.shrink:
        return this.#shrink()
      case event.credit:
        return this.frames?.credit(
          rows[at + column.credit.stream]!,
          rows[at + column.credit.amount]!,
          rows[at + column.credit.gone] !== 0,
        )
      case event.gone:
        return this.frames?.gone(rows[at + column.gone.idLow]!, rows[at + column.gone.idHigh]!)
      case event.overrun:
        return this.frames?.overrun(rows[at + column.overrun.key]!, rows[at + column.overrun.ns]!)
      case event.connected:
        return this.#onConnected(slot, rows[at + eventRow.generation]!, rows[at + column.connected.request]!)
      case event.connectFailed:
        return this.attempts.failed(rows[at + column.connectFailed.request]!, rows[at + column.connectFailed.errno]!)
      case event.called:
        return this.#onCalled(rows, at)
      case event.drained:
        return this.events.drained()
      case event.acceptError:
        return this.#onAcceptError(rows, at)
    }
  }

  #onCalled(rows: Uint32Array, at: number): void {
    const { slab, number } = column.called
    answerCall(this.driver, rows[at + number]!, this.events.onCall, this.slabs.bytes(rows, at + slab))
  }

  #onAcceptError(rows: Uint32Array, at: number): void {
    const { listener, errno } = column.acceptError
    this.events.acceptError(rows[at + errno]!, this.listeners[rows[at + listener]!]!.name)
  }

  #onOpen(slot: number, generation: number, listener: EngineListener): void {
    // biome-ignore lint/suspicious/noExplicitAny: `open` decides
    const conn = new LiveConnection<any>(this, listener, slot, generation, undefined)
    const layer = this.#layers[slot]
    if (layer) conn.secure = layer
    this.connections[slot] = conn
    if (!listener.handlers.open) return
    try {
      this.opened(conn, listener.handlers.open(conn))
    } catch (error) {
      this.failed(error, 'open', conn)
    }
  }

  #onBalance(slot: number, generation: number, listener: EngineListener): void {
    try {
      balanceFresh(this.driver, slot, generation, this.index, listener)
    } catch (error) {
      this.report(error, 'balance', listener.name)
    }
  }

  #onConnected(slot: number, generation: number, request: number): void {
    const connect = this.attempts.take(request)
    // A storage may be entered later: by then it is not known any more where it was connected.
    if (connect && !contexts.used) this.#contexts.adopt(slot, generation, connect.context)
    // Cancelled when it was connected already.
    if (!connect) return void this.driver.destroy(slot, generation, closeReasons.indexOf('destroyed'))
    // biome-ignore lint/suspicious/noExplicitAny: `open` decides
    const conn = new LiveConnection<any>(this, connect.listener, slot, generation, undefined)
    this.connections[slot] = conn
    try {
      this.opened(conn, connect.listener.handlers.open?.(conn))
    } catch (error) {
      this.failed(error, 'open', conn)
      return connect.ended(asError(error))
    }
    connect.ended(conn)
  }

  /** A connection that another thread has served. */
  #onResume(slot: number, rows: Uint32Array, at: number): void {
    // Without bytes there was no memory for them: the row itself holds the id, and the connection has closed.
    const { slab, offset } = column.restore
    const bytes = this.bytesOf(rows, at, column.restore)
    const id = bytes ? bytes.readBigUInt64LE(0) : (BigInt(rows[at + offset]!) << 32n) | BigInt(rows[at + slab]!)
    const word = rows[at + column.restore.flags]!
    const listener = this.listeners[word & 0xffff]!
    const flags = word >>> 16
    // biome-ignore lint/suspicious/noExplicitAny: `restore` decides
    const conn = new LiveConnection<any>(this, listener, slot, rows[at + eventRow.generation]!, undefined, id)
    this.connections[slot] = conn
    if (flags & restoreFlag.ended) conn.markEnded()
    if (flags & (restoreFlag.webSocket | restoreFlag.dataLost)) conn.resumed = flags
    try {
      const state = flags & restoreFlag.hasState ? decodeState(bytes!.subarray(8)) : undefined
      conn.data = state
      const data: unknown = listener.handlers.restore?.(conn, state)
      if (data !== undefined) conn.data = data
      this.watch(data, 'restore', conn)
    } catch (error) {
      this.failed(error, 'restore', conn)
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  async #onHandover(conn: ConnectionLink<any> | undefined): Promise<void> {
    if (!conn) return
    const state = await this.#suspension.stateOf(conn)
    conn.moveNow(state)
    this.touched()
  }

  #onMoved(slot: number): void {
    this.connections[slot]?.markMoved()
    this.unread.delete(slot)
    this.connections[slot] = undefined
  }

  /** Memory is short, and the collector is about to look: holders of a few bytes of a slab copy them. */
  #shrink(): void {
    for (const conn of this.connections) conn?.protocol?.shrink?.()
  }

  #onCipher(slot: number, rows: Uint32Array, at: number): void {
    let layer = this.#layers[slot]
    if (!layer) {
      const listener = this.listeners[rows[at + column.cipher.listener]!]!
      layer = listener.secure!.layer(this, slot, rows[at + eventRow.generation]!)
      this.#layers[slot] = layer
      this.#layerCount++
    }
    this.time.soon()
    layer.received(this.bytesOf(rows, at, column.cipher))
  }

  #onLayerClosed(slot: number): void {
    const layer = this.#layers[slot]
    if (!layer) return
    this.#layers[slot] = undefined
    this.#layerCount--
    this.#suspension.gone(layer)
    layer.closed()
  }

  #onClose(slot: number, rows: Uint32Array, at: number): void {
    this.#onLayerClosed(slot)
    this.unread.delete(slot)
    if (!contexts.used) this.#contexts.drop(slot)
    const conn = this.connections[slot]
    if (conn?.stream) this.streams.delete(conn)
    this.#suspension.gone(conn)
    this.#suspension.closed()
    if (!conn) return
    this.connections[slot] = undefined
    const { close } = column
    const reason = closeReasons[rows[at + close.reason]! & 0xff]!
    conn.markClosed(
      reason,
      rows[at + close.readLow]! + rows[at + close.readHigh]! * 2 ** 32,
      rows[at + close.writtenLow]! + rows[at + close.writtenHigh]! * 2 ** 32,
    )
    for (const number of conn.runs ?? []) this.runs.closed(number, reason)
    if (reason === 'slow-consumer') this.events.slowConsumer?.(conn.listener)
    conn.stream?.closed(reason, rows[at + close.reason]! >>> 8)
    const listener = conn.engineListener
    if (!listener.handlers.close) return
    try {
      this.watch(listener.handlers.close(conn, reason), 'close', conn)
    } catch (error) {
      this.failed(error, 'close', conn)
    }
  }

  #onRunResult(rows: Uint32Array, at: number): void {
    const { callResult } = column
    const number = rows[at + callResult.run]!
    const bytes = this.slabs.bytes(rows, at + callResult.slab)
    if (!this.runs.settle(number, rows[at + callResult.flags]!, bytes)) return
    this.connections[rows[at + eventRow.slot]!]?.runs?.delete(number)
  }
}
