import { isUtf8 } from 'node:buffer'
import type { CloseReason } from '@multireactor/addon'
import type { BadFrame } from '@multireactor/reactor'
import { type ConnectionLink, GrowingBytes, webSocketInfo } from '@multireactor/reactor/parts'
import { DeflatingSender, type SenderEvents } from './deflating_sender.js'
import { mostNow, zlibLane } from './deflation.js'
import { mostDiscarded } from './discarded.js'
import { type Inflated, inflateLater, inflateNow, mostCompressed } from './inflate.js'
import { isThenable } from './thenable.js'
import { ServerWebSocket } from './server_websocket.js'
import { closeCode, closePayload, readClose } from './websocket_close.js'
import { type Opcode, opcode, opOf, plainMessage, sendFrame } from './websocket_frames.js'
import { type HookOwner, runHook, watchMessage } from './websocket_hooks.js'
import type { WebSocketSettings } from './websocket_settings.js'

const { opcode: opcodeBits, fin, ascii, compressed } = webSocketInfo

/** Bytes of a masked frame of nothing. */
const leastFrame = 6

/** The state of a WebSocket that goes to another thread, beside its data. */
export interface WebSocketState {
  protocol: string
  data: unknown
  parts: { isText: boolean; isCompressed: boolean; bytes: Uint8Array } | undefined
  /** The Close frame that was sent and is not answered. */
  closing: { code: number; reason: string } | undefined
}

/** The protocol on one connection behind its upgrade: frames in, messages and the life of the WebSocket out. */
export class WebSocketConnection implements SenderEvents, HookOwner {
  // biome-ignore lint/suspicious/noExplicitAny: the data of the connections belongs to the app
  readonly conn: ConnectionLink<any>
  readonly ws: ServerWebSocket
  readonly #settings: WebSocketSettings
  state: 'open' | 'closing' | 'closed' = 'open'
  /** The app has closed it itself, and knows that nothing can follow. */
  saidGoodbye = false
  /** The fragments of a message that is not whole yet. */
  #parts: { isText: boolean; isCompressed: boolean; all: GrowingBytes } | undefined
  #code: number = closeCode.abnormal
  #reason = ''
  #paused = false
  /** The last word is said: the connection ends as soon as it has been sent. */
  #ending = false
  /** A message is being inflated on another thread: nothing behind it is read. */
  #inflating = false
  /** Messages are compressed for this peer. */
  readonly #sender: DeflatingSender | undefined
  /** Bytes of the frames that have come behind our Close frame. */
  #discarded = 0
  /** Of the peer, when it was last looked at. */
  #bytesRead = -1

  // biome-ignore lint/suspicious/noExplicitAny: as above
  constructor(conn: ConnectionLink<any>, settings: WebSocketSettings, protocol: string, windowBits: number) {
    this.conn = conn
    this.#settings = settings
    // The agreement holds though the next thread has other options: it still inflates.
    if (windowBits !== 0 && settings.deflation) {
      this.#sender = new DeflatingSender(conn, settings.deflation, windowBits, this)
    }
    this.ws = new ServerWebSocket(this, protocol)
    settings.sockets.add(this)
    settings.quiet.add(this)
  }

  open(): void {
    const { own } = this.#settings
    if (own.open) runHook(this, 'open', () => own.open!(this.ws), true)
  }

  // ---------------------------------------------------------------- frames

  onFrame(slab: Buffer, start: number, length: number, info: number): void {
    const op = info & opcodeBits
    if (this.#ending || (this.state !== 'open' && op !== opcode.close)) return this.#discard(length)
    if (op < opcode.close) {
      if (op !== opcode.continuation && (info & fin) !== 0) return this.#whole(slab, start, length, info)
      return this.#part(slab.subarray(start, start + length), op, info)
    }
    const payload = slab.subarray(start, start + length)
    if (op === opcode.close) return this.#onClose(payload)
    if (op === opcode.ping) return void this.sendControl(opcode.pong, payload)
    this.#onPong(payload)
  }

  #whole(slab: Buffer, start: number, length: number, info: number): void {
    const end = start + length
    if ((info & compressed) !== 0) return this.#inflate(slab.subarray(start, end), (info & opcodeBits) === opcode.text)
    if ((info & opcodeBits) === opcode.binary) return this.#deliver(slab.subarray(start, end), true)
    if ((info & ascii) !== 0) return this.#deliver(slab.toString('latin1', start, end), false)
    if (!isUtf8(slab.subarray(start, end))) return this.#badText()
    this.#deliver(slab.toString('utf8', start, end), false)
  }

  #part(bytes: Buffer, op: number, info: number): void {
    if (op !== opcode.continuation) this.#begin(op === opcode.text, (info & compressed) !== 0)
    if (!this.#parts) return this.fail(closeCode.restart, 'a part of the message is lost')
    this.#parts.all.push(bytes)
    if ((info & fin) === 0) return
    const { isText, isCompressed, all } = this.#parts
    const whole = all.bytes
    this.#parts = undefined
    if (isCompressed) return this.#inflate(whole, isText)
    this.#deliverBytes(whole, isText)
  }

  #deliverBytes(whole: Buffer, isText: boolean): void {
    if (!isText) return this.#deliver(whole, true)
    if (!isUtf8(whole)) return this.#badText()
    this.#deliver(whole.toString(), false)
  }

  #begin(isText: boolean, isCompressed: boolean): void {
    const { maxMessageBytes } = this.#settings
    const most = isCompressed ? mostCompressed(maxMessageBytes) : maxMessageBytes
    this.#parts = { isText, isCompressed, all: new GrowingBytes(this.conn.allocate, most) }
  }

  /** Small messages are inflated at once, except those that may become large: these, too, go to another thread. */
  #inflate(payload: Buffer, isText: boolean): void {
    const { maxMessageBytes } = this.#settings
    if (payload.length <= mostNow) {
      const most = Math.min(maxMessageBytes, mostNow * 4)
      const inflated = inflateNow(payload, most)
      if (inflated !== 'too-large' || most === maxMessageBytes) return this.#onInflated(inflated, isText, false)
    }
    void this.#inflateLater(payload, isText)
  }

  async #inflateLater(payload: Buffer, isText: boolean): Promise<void> {
    this.#inflating = true
    if (!this.#paused) this.conn.pause()
    this.conn.hold(true)
    try {
      // The slab is not kept for it.
      const copy = this.conn.allocate(payload.length)
      copy.set(payload)
      const isWanted = (): boolean => this.state === 'open' && this.conn.isOpen
      const target = { most: this.#settings.maxMessageBytes, allocate: this.conn.allocate, isWanted }
      const inflated = await zlibLane.run(() => inflateLater(copy, target))
      this.#inflating = false
      if (isWanted()) this.#onInflated(inflated, isText, true)
    } catch (error) {
      this.#inflating = false
      if (this.conn.isOpen) this.onHookFailed(error, 'message')
    }
    if (!this.#paused && this.conn.isOpen) this.conn.resume()
    this.conn.hold(false)
  }

  #onInflated(inflated: Inflated, isText: boolean, isCounted: boolean): void {
    if (inflated === 'too-large') return this.fail(closeCode.tooBig, 'the message is too long')
    if (inflated === 'broken') return this.fail(closeCode.badText, 'the message is not valid deflate data')
    if (isText || isCounted) return this.#deliverBytes(inflated, isText)
    const counted = this.conn.allocate(Math.max(inflated.length, 1)).subarray(0, inflated.length)
    counted.set(inflated)
    this.#deliver(counted, true)
  }

  /** A peer may send as many as it likes, so that their hooks are counted with those of messages. */
  #onPong(payload: Buffer): void {
    const { own } = this.#settings
    if (!own.pong) return
    let result: unknown
    try {
      result = own.pong(this.ws, payload)
    } catch (error) {
      return this.onHookFailed(error, 'pong')
    }
    if (isThenable(result)) watchMessage(this, result, 'pong')
  }

  #badText(): void {
    this.fail(closeCode.badText, 'the text is not UTF-8')
  }

  #deliver(data: string | Buffer, isBinary: boolean): void {
    const { own } = this.#settings
    let result: unknown
    try {
      result = own.message(this.ws, data, isBinary)
    } catch (error) {
      return this.onHookFailed(error, 'message')
    }
    if (isThenable(result)) watchMessage(this, result, 'message')
  }

  /** A peer may finish the message it had begun before it answers our Close frame. One that sends more is cut off. */
  #discard(length: number): void {
    this.#discarded += leastFrame + length
    if (this.#discarded < mostDiscarded || !this.conn.isOpen || this.state === 'closed') return
    this.#code = closeCode.abnormal
    this.#reason = 'no answer to the Close frame'
    this.#end()
  }

  #onClose(payload: Buffer): void {
    if (this.state === 'closed') return
    const words = readClose(payload)
    if (typeof words === 'number') return this.fail(words, 'the Close frame is malformed')
    this.#code = words.code
    this.#reason = words.reason
    if (this.state === 'open') this.#sendClose(words.code, '')
    this.#end()
  }

  /** The framing has refused a frame; the connection closes behind the bytes sent here. */
  onBadFrame({ code, reason }: BadFrame): void {
    if (this.state === 'closed') return
    const said = code !== 0 ? code : closeCode.policy
    if (this.state === 'open') this.#sendClose(said, reason)
    this.#code = said
    this.#reason = reason
    this.state = 'closing'
    this.#leave()
  }

  // ---------------------------------------------------------------- closing

  /** The app says goodbye. */
  close(code: number, reason: string): void {
    if (this.state === 'closed' || this.conn.destroyed) return this.conn.countLateCall()
    this.saidGoodbye = true
    this.#sayGoodbye(code, reason)
  }

  /** Says goodbye, and waits for the answer. */
  #sayGoodbye(code: number, reason: string): void {
    if (this.state !== 'open') return
    this.#sendClose(code, reason)
    this.#closing(code, reason)
  }

  #closing(code: number, reason: string): void {
    this.state = 'closing'
    this.#code = code
    this.#reason = reason
    this.#parts = undefined
    this.#quiet(false)
    this.#settings.unanswered.add(this)
    // Or the answer would not be read.
    this.pause(false)
    this.conn.endMessages()
  }

  /** The peer broke the rules, or we cannot go on: a last word, and the end. */
  fail(code: number, reason: string): void {
    if (!this.conn.isOpen) return
    if (this.state === 'open') this.#sendClose(code, reason)
    this.#code = code
    this.#reason = reason
    this.#end()
  }

  terminate(): void {
    this.#parts = undefined
    this.conn.destroy()
  }

  #end(): void {
    this.state = 'closing'
    this.#ending = true
    this.#parts = undefined
    this.#leave()
    this.#whenSent(() => this.conn.end())
  }

  #whenSent(action: () => void): void {
    if (this.#sender) this.#sender.whenIdle(action)
    else action()
  }

  #sendClose(code: number, reason: string): void {
    // Nothing may come behind it.
    for (const topic of this.conn.subscriptions) this.conn.unsubscribe(topic)
    const payload = closePayload(code, reason)
    if (this.#sender) this.#sender.close(payload)
    else sendFrame(this.conn, opcode.close as Opcode, payload)
  }

  onGone(_reason: CloseReason): void {
    const { own } = this.#settings
    this.state = 'closed'
    this.#parts = undefined
    this.#sender?.drop()
    this.#leave()
    if (own.close) runHook(this, 'close', () => own.close!(this.ws, this.#code, this.#reason))
  }

  /** The server is closing, or only this thread. */
  goAway(restart: boolean): void {
    if (this.state !== 'open' || !this.conn.isOpen) return
    if (restart) this.#sayGoodbye(closeCode.restart, 'the server starts anew')
    else this.#sayGoodbye(closeCode.goingAway, 'the server is closing')
  }

  #leave(): void {
    this.#quiet(false)
    this.#settings.unanswered.delete(this)
    this.#settings.sockets.delete(this)
    this.#settings.publisher?.leave(this.conn)
  }

  // ---------------------------------------------------------------- signs of life

  /** Nothing may have come for a while. */
  onQuiet(): void {
    if (this.#isHeard()) return this.#quiet(true)
    this.sendControl(opcode.ping, '')
    this.#settings.asked.add(this)
  }

  /** It was asked a while ago. */
  onSilence(): void {
    if (this.#isHeard()) return this.#quiet(true)
    this.#reason = 'no answer to a ping'
    this.conn.destroy('timeout')
  }

  /** The peer has not answered our Close frame. */
  onUnanswered(): void {
    this.#code = closeCode.abnormal
    this.#reason = 'no answer to the Close frame'
    this.conn.destroy('timeout')
  }

  #quiet(on: boolean): void {
    const { quiet, asked } = this.#settings
    asked.delete(this)
    if (on) quiet.add(this)
    else quiet.delete(this)
  }

  #isHeard(): boolean {
    const read = this.conn.bytesRead
    const heard = read !== this.#bytesRead
    this.#bytesRead = read
    // A paused peer cannot be heard, and for a peer that does not read there is the write timeout.
    return heard || this.#paused || this.#inflating || this.conn.isFull || this.conn.writableLength > 0
  }

  pause(on: boolean): void {
    if (this.#paused === on || !this.conn.isOpen) return
    this.#paused = on
    if (this.#inflating) return
    if (on) this.conn.pause()
    else this.conn.resume()
  }

  // ---------------------------------------------------------------- sending

  /** False: there is no room for more, or, where slow peers are to miss something, there was none for this. */
  send(data: string | Uint8Array): boolean {
    if (this.#settings.dropsForSlow && this.bufferedAmount >= this.conn.engineListener.highBytes) {
      this.conn.countDropped()
      // Applies to any writer that has filled the out buffer.
      if (this.#sender?.awaitRoom() !== true) this.conn.awaitRoom()
      return false
    }
    return this.#sender ? this.#sender.message(opOf(data), data) : sendFrame(this.conn, opOf(data), data)
  }

  sendControl(op: Opcode, data: string | Uint8Array): boolean {
    return this.#sender ? this.#sender.control(op, data) : sendFrame(this.conn, op, data)
  }

  publish(topic: string, data: string | Uint8Array): boolean {
    const { publisher } = this.#settings
    // One that has closed refuses it, and counts the call.
    const compresses = publisher !== undefined && this.conn.isOpen
    return compresses ? publisher.publish(this.conn, topic, data) : this.conn.publish(topic, plainMessage(data))
  }

  get bufferedAmount(): number {
    return this.conn.writableLength + (this.#sender?.waitingBytes ?? 0)
  }

  // ---------------------------------------------------------------- hooks

  onDrain(): void {
    const { own } = this.#settings
    if (this.#sender?.awaitRoom() === true) return
    if (own.drain && this.state === 'open') runHook(this, 'drain', () => own.drain!(this.ws))
  }

  /** See `SenderEvents`. */
  onRoom(): void {
    this.onDrain()
  }
  onFailure(error: unknown): void {
    this.onHookFailed(error, 'send')
  }

  /** See `HookOwner`. */
  onHookFailed(error: unknown, hook: string): void {
    this.conn.reportError(error, hook)
    this.fail(closeCode.internalError, '')
  }

  // ---------------------------------------------------------------- from thread to thread

  async suspend(): Promise<WebSocketState> {
    const { own } = this.#settings
    this.#sender?.leave()
    const { isText = false, isCompressed = false, all } = this.#parts ?? {}
    const parts = all && { isText, isCompressed, bytes: all.bytes }
    const closing = this.state === 'closing' ? { code: this.#code, reason: this.#reason } : undefined
    const data: unknown = own.suspend ? await own.suspend(this.ws) : this.conn.data
    this.#leave()
    return { protocol: this.ws.protocol, data, parts, closing }
  }

  /** `state` is undefined when the other thread has died. `lost`: with data. Returns the data. */
  restore(state: WebSocketState | undefined, lost: boolean): unknown {
    const { own } = this.#settings
    if (state?.parts) {
      this.#begin(state.parts.isText, state.parts.isCompressed)
      this.#parts!.all.push(state.parts.bytes)
    }
    if (state?.closing) this.#closing(state.closing.code, state.closing.reason)
    this.conn.data = state?.data
    if (own.restore) return own.restore(this.ws, state?.data) ?? this.conn.data
    if (lost) this.fail(closeCode.restart, 'the server has lost the state of this connection')
    return this.conn.data
  }
}
