import { Buffer } from 'node:buffer'
import { column, eventRow, isBytes, MultireactorError, native, shown, submitHow, undetachable } from '@multireactor/addon'
import { type ConnectionLink, notStopped } from './connection_link.js'
import type { InlineFrames } from './engine_core.js'
import { HookCalls } from './hook_calls.js'
import { ignoreRejection } from './hook_promises.js'
import { UnreadBytes } from './unread.js'

/** Fewer bytes than this are shown once more with the next ones, which costs little and keeps no memory. */
const leastHeld = 4 << 10

/** Frames of a custom framer between two looks at the clock. */
const framesALook = 8

/** Cuts the bytes of connections whose framing is `custom()`, here and not natively, and keeps the uncut bytes. */
export abstract class CustomFrames extends HookCalls {
  /** Of connections with a custom framer, by slot. */
  protected readonly unread: Map<number, UnreadBytes> = new Map()
  protected frames: InlineFrames | undefined

  /** Custom framing: the received bytes, behind the unread ones, are cut here. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  protected onReceived(conn: ConnectionLink<any> | undefined, slot: number, rows: Uint32Array, at: number): void {
    if (!conn?.isOpen) return
    if (conn.stoppedIn !== notStopped) {
      // Paused or reframed by a hook of this batch that came before: the native side cuts these bytes again.
      if (this.batchNumber === conn.stoppedIn) return
      if (conn.stopIfFull()) return
      conn.stoppedIn = notStopped
    }
    this.roomOf = undefined
    this.room = 0
    const generation = rows[at + eventRow.generation]!
    const unread = rows[at + column.received.unread] === 0 ? undefined : this.unread.get(slot)
    let bytes = this.slabs.bytes(rows, at + column.received.slab)
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
    this.time.start()
    while (used < bytes.length && conn.isOpen && conn.stoppedIn === notStopped) {
      const looks = frames !== 0 && (frames % framesALook === 0 || this.time.lookAt === 0)
      if (looks && this.time.isOver(0) && rows[at]! >>> eventRow.waitingShift !== eventRow.lastChance) {
        conn.seenIn = this.batchNumber
        conn.rawEnd = used
        this.waitBehind(conn, this.time.before)
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
      if (listener.handlers.message) this.message(conn, frame, used, 0)
      else if (listener.run !== 'pool') this.frames!.place(slot, generation, frame)
      else this.driver.submit(slot, generation, frame, submitHow.reply)
      if (used < bytes.length) conn.stopIfFull()
    }
    // A framer that wants twice as much or more is shown all of it then: that happens a few times only.
    const left = bytes.length - used
    const holds = left >= leastHeld && needed < 2 * left && this.hold(slot, unread, bytes, used)
    if (!holds) this.unread.delete(slot)
    this.driver.consumed(slot, generation, used, needed, holds)
  }

  /** False: there is no memory, and all of it is to be shown again. */
  protected hold(slot: number, unread: UnreadBytes | undefined, bytes: Buffer, used: number): boolean {
    try {
      if (unread) unread.consume(used)
      else
        this.unread.set(slot, new UnreadBytes(bytes.subarray(used), (size) => undetachable(native.newSlab(this.runtime, size))))
      return true
    } catch {
      return false
    }
  }
}

/** The result of a custom framer, read once: it may be anything. */
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
