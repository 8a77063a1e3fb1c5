import { closeReasons, column as columns, eventRow as rowTable } from '@multireactor/addon'
import { type ConnectionLink, notStopped } from './connection_link.js'
import { EngineCore } from './engine_core.js'
import type { MessageIn } from './engine_side.js'
import type { BadFrame } from './handlers.js'
import { isPromise } from './hook_promises.js'
import { dearRows } from './hook_time.js'
import { leastPiece } from './piece_size.js'
import type { ConnectionStream } from './stream.js'

// Constants of this module are folded into the code of a hot path; those of another one are loaded each time.
const eventRow = rowTable
const column = columns

/** Calls the hooks of connections: their arguments, results, errors and rejections. */
export abstract class HookCalls extends EngineCore {
  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected onFrame(conn: ConnectionLink<any> | undefined, rows: Uint32Array, at: number): void {
    if (!conn?.isOpen) return
    const { stream } = conn
    if (conn.stoppedIn !== notStopped) {
      // Paused or reframed by an earlier frame of this batch: the native side cuts this one again.
      if (this.batchNumber === conn.stoppedIn) return
      if (conn.stopIfFull()) return
      conn.stoppedIn = notStopped
    }
    if (stream) {
      conn.seenIn = this.batchNumber
      conn.rawEnd = rows[at + column.frame.rawEnd]!
      return this.toStream(conn, stream, this.slabs.bytes(rows, at + column.frame.slab))
    }
    const listener = conn.engineListener
    const { side, highBytes } = listener
    if (listener.dear > 0) {
      listener.dear--
      this.time.soon()
    }
    if (this.roomOf !== conn) {
      this.roomOf = conn
      this.room = highBytes - (rows[at]! >>> eventRow.waitingShift) * eventRow.waitingUnit
    }
    const messageIn = side?.messageIn
    if (messageIn !== undefined) return this.messageIn(conn, messageIn, rows, at)
    const frame = this.slabs.bytes(rows, at + column.frame.slab)
    this.message(conn, frame, rows[at + column.frame.rawEnd]!, rows[at + column.frame.info]!)
  }

  /**
   * A stream's listeners may take long for many bytes at once, such as a parser that finds ten thousand chunks in them: they get as
   * many as they have had time for.
   */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected toStream(conn: ConnectionLink<any>, stream: ConnectionStream, bytes: Buffer): void {
    const { length } = bytes
    this.time.soon()
    if (length <= leastPiece) return stream.received(bytes)
    const { pieces } = stream
    const end = conn.rawEnd
    for (let from = 0; from < length; ) {
      const to = Math.min(length, from + pieces.bytes)
      conn.rawEnd = end - length + to
      const since = performance.now()
      stream.received(to - from === length ? bytes : bytes.subarray(from, to))
      pieces.took(to - from, performance.now() - since)
      // Paused there, or ended: the native side knows the taken bytes by `rawEnd`.
      if (to === length || !conn.isOpen || conn.stoppedIn === this.batchNumber) return
      if (this.time.isOver(0)) return this.waitBehind(conn, this.time.before)
      from = to
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected messageIn(conn: ConnectionLink<any>, hook: MessageIn, rows: Uint32Array, at: number): void {
    const { frame } = column
    const slab = this.slabs.whole(rows[at + frame.slab]!)
    this.current = conn
    this.place = -1
    conn.seenIn = this.batchNumber
    conn.rawEnd = rows[at + frame.rawEnd]!
    try {
      hook(conn, slab, rows[at + frame.offset]!, rows[at + frame.length]!, rows[at + frame.info]!)
    } catch (error) {
      this.failed(error, 'message', conn, this.place)
    }
    this.current = undefined
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected message(conn: ConnectionLink<any>, frame: Buffer, rawEnd: number, info: number): void {
    this.current = conn
    this.place = -1
    conn.seenIn = this.batchNumber
    conn.rawEnd = rawEnd
    try {
      // A client may have none: received frames are dropped then.
      const result: unknown = conn.engineListener.handlers.message?.(conn, frame, info)
      if (result !== undefined) this.watchMessage(result, conn)
    } catch (error) {
      this.failed(error, 'message', conn, this.place)
    }
    this.current = undefined
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected onBadFrame(conn: ConnectionLink<any> | undefined, rows: Uint32Array, at: number): void {
    if (!conn?.isOpen) return
    // Stopped before it: found again when the connection goes on.
    if (this.batchNumber === conn.stoppedIn) return
    this.roomOf = undefined
    this.room = 0 // how much waits is not known here
    this.current = conn
    this.place = -1
    conn.seenIn = this.batchNumber
    conn.rawEnd = rows[at + column.badFrame.rawEnd]!
    const reason = closeReasons[rows[at + column.badFrame.reason]!]! as BadFrame['reason']
    const code = rows[at + column.badFrame.code]!
    try {
      this.watch(conn.engineListener.handlers.badFrame!(conn, { reason, code }), 'badFrame', conn)
    } catch (error) {
      this.failed(error, 'badFrame', conn)
    }
    this.current = undefined
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected hook(name: 'end' | 'drain' | 'timeout', conn: ConnectionLink<any> | undefined): void {
    if (!conn?.isOpen) return
    try {
      this.watch(conn.engineListener.handlers[name]!(conn), name, conn)
    } catch (error) {
      this.failed(error, name, conn)
    }
  }

  /** The data of a connection whose `open` is async is the value of its promise. Frames wait for it; a rejection counts as a throw. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected opened(conn: ConnectionLink<any>, data: unknown): void {
    if (!isPromise(data)) {
      conn.data = data
      return
    }
    const { toPool, side, handlers } = conn.engineListener
    if (toPool && !side?.messageIn && !handlers.message) {
      // The pool gets frames without any hook, and sees no data.
      const kept = Promise.resolve(data).then((value) => this.keepData(conn, value))
      return this.watch(kept, 'open', conn)
    }
    conn.whileOpening(
      data,
      (value) => this.keepData(conn, value),
      (error) => this.failed(error, 'open', conn),
    )
  }

  /** A hook that has set `conn.data` itself, and resolves to nothing, keeps it. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected keepData(conn: ConnectionLink<any>, value: unknown): void {
    if (value !== undefined) conn.data = value
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected watch(result: unknown, hook: string, conn: ConnectionLink<any>): void {
    if (!isPromise(result)) return
    conn.hold(true)
    Promise.resolve(result).then(
      () => conn.hold(false),
      (error: unknown) => {
        conn.hold(false)
        this.failed(error, hook, conn)
      },
    )
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected watchMessage(result: unknown, conn: ConnectionLink<any>): void {
    if (!isPromise(result)) return
    const own = this.place
    const next = conn.messagePending()
    Promise.resolve(result).then(
      () => conn.messageSettled(),
      (error: unknown) => {
        // First, so that nothing behind it is delivered.
        this.failed(error, 'message', conn, own === -1 ? next : own)
        conn.messageSettled()
      },
    )
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected failed(error: unknown, hook: string, conn: ConnectionLink<any>, place = -1): void {
    this.report(error, hook, conn.listener)
    if (hook !== 'close') conn.fail('handler-error', place)
  }

  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected waitBehind(conn: ConnectionLink<any>, begun: number): void {
    const { slot, generation, seenIn, rawEnd } = conn
    conn.stoppedIn = this.batchNumber
    this.driver.handBack(slot, generation, seenIn === this.batchNumber ? rawEnd : 0, begun)
  }

  /**
   * Errors of hooks are caught at the call. A stream calls the app too, at its every event: an error of its listeners costs
   * their connection, and not the rest of the batch.
   */
  protected onEscaped(error: unknown, rows: Uint32Array, at: number): void {
    this.current = undefined
    const conn = this.connections[rows[at + eventRow.slot]!]
    if (conn?.stream) this.failed(error, 'stream', conn)
    else this.report(error, '', '')
  }

  /** Of an event that may have none. */
  protected bytesOf(rows: Uint32Array, at: number, columns: { slab: number; length: number }): Buffer | undefined {
    return rows[at + columns.length] === 0 ? undefined : this.slabs.bytes(rows, at + columns.slab)
  }

  /** Asked before row `row`. A listener one of whose hooks took long is watched more closely for some time. */
  protected isOver(rows: Uint32Array, row: number): boolean {
    const over = this.time.isOver(row)
    if (this.time.long && row > 0) {
      const conn = this.connections[rows[(row - 1) * eventRow.words + eventRow.slot]!]
      if (conn) conn.engineListener.dear = dearRows
    }
    return over
  }
}
