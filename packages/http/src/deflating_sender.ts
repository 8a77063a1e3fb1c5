import { Buffer } from 'node:buffer'
import { lengthOf } from '@multireactor/addon'
import { type ConnectionLink, type HeldReply, GrowingBytes } from '@multireactor/reactor/parts'
import { bytesOf, type Deflation, mostNow } from './deflation.js'
import { type FrameTarget, type Opcode, opcode, sendFrame } from './websocket_frames.js'

/** An entry that waits behind a message that is being compressed. */
type Waiting =
  /** Another large message. */
  | { kind: 'large'; op: Opcode; bytes: Buffer }
  /** Messages that are not, as they go: however many there are, they are one piece of memory. */
  | { kind: 'frames'; frames: GrowingBytes }
  | { kind: 'close'; payload: Buffer }

/** Events of a sender, for its WebSocket. */
export interface SenderEvents {
  /** There is room again after `message` has said that there is none. */
  onRoom(): void
  /** zlib has failed. */
  onFailure(error: unknown): void
}

/**
 * Sends the messages of one WebSocket that has agreed on permessage-deflate. While a large one is compressed on another thread, those
 * behind it wait here, and a place in the order of the connection is held open: publications and sends of other threads, which do
 * not come by here, wait behind it.
 */
export class DeflatingSender {
  // biome-ignore lint/suspicious/noExplicitAny: the data of the connections belongs to the app
  readonly #conn: ConnectionLink<any>
  readonly #deflation: Deflation
  readonly #windowBits: number
  readonly #events: SenderEvents
  /** Only while a large message is compressed; most connections never have any of it. */
  #waiting: Waiting[] | undefined
  #whenIdle: (() => void)[] | undefined
  #waitingBytes = 0
  /** The place of the message that is being compressed. */
  #place: HeldReply | undefined
  /** Whether the last send found room. */
  #room = true
  #saidNo = false
  #leaving = false

  // biome-ignore lint/suspicious/noExplicitAny: as above
  constructor(conn: ConnectionLink<any>, deflation: Deflation, windowBits: number, events: SenderEvents) {
    this.#conn = conn
    this.#deflation = deflation
    this.#windowBits = windowBits
    this.#events = events
  }

  /** Bytes of the messages that have not been compressed yet. */
  get waitingBytes(): number {
    return this.#waitingBytes
  }

  message(op: Opcode, data: string | Uint8Array): boolean {
    const length = typeof data === 'string' ? Buffer.byteLength(data) : lengthOf(data)
    const suits = this.#deflation.suits(length, this.#windowBits)
    if (suits && length > mostNow && !this.#leaving) return this.#later(length, () => this.#addLarge(op, data, length))
    if (this.#place === undefined) return this.#put(this.#conn, op, data, length, suits)
    return this.#later(length, () => this.#addFrame(op, data, length, suits))
  }

  /** The connection leaves this thread: later messages are compressed at once, since no compression may be under way when it goes. */
  leave(): void {
    this.#leaving = true
  }

  /** A Ping or Pong, which may go between messages. */
  control(op: Opcode, data: string | Uint8Array): boolean {
    return sendFrame(this.#place ?? this.#conn, op, data)
  }

  /** A Close frame, behind all messages. */
  close(payload: Buffer): void {
    if (this.#place === undefined) return void sendFrame(this.#conn, opcode.close, payload)
    this.#waiting?.push({ kind: 'close', payload })
  }

  /** Calls back when nothing waits here any more; at once, if so it is. */
  whenIdle(action: () => void): void {
    if (this.#place === undefined) return action()
    this.#whenIdle ??= []
    this.#whenIdle.push(action)
  }

  /** True: messages wait here, and the app will hear when none do and there is room. */
  awaitRoom(): boolean {
    if (this.#place === undefined) return false
    this.#saidNo = true
    return true
  }

  /** The connection is gone. */
  drop(): void {
    this.#place = undefined
    this.#waiting = undefined
    this.#waitingBytes = 0
    this.#whenIdle = undefined
  }

  #later(length: number, add: () => void): boolean {
    const conn = this.#conn
    if (!conn.isOpen) {
      conn.countLateCall()
      return false
    }
    const { highBytes, mostBytes } = conn.engineListener
    const before = this.#waitingBytes + conn.writableLength
    // As in the out buffer: a message of any size passes when little waits before it.
    if (before >= highBytes && before + length > mostBytes) {
      conn.destroy('slow-consumer')
      return false
    }
    this.#waiting ??= []
    add()
    if (this.#place === undefined) {
      this.#hold()
      this.#goOn()
    }
    const hasRoom = this.#waitingBytes + conn.writableLength < highBytes
    if (!hasRoom) this.#saidNo = true
    return hasRoom
  }

  #addLarge(op: Opcode, data: string | Uint8Array, length: number): void {
    const bytes = this.#conn.allocate(length)
    if (typeof data === 'string') bytes.write(data)
    else bytes.set(data)
    this.#waiting!.push({ kind: 'large', op, bytes })
    this.#waitingBytes += length
  }

  #addFrame(op: Opcode, data: string | Uint8Array, length: number, suits: boolean): void {
    let last = this.#waiting!.at(-1)
    if (last?.kind !== 'frames') {
      const { mostBytes } = this.#conn.engineListener
      last = { kind: 'frames', frames: new GrowingBytes(this.#conn.allocate, mostBytes) }
      this.#waiting!.push(last)
    }
    const { frames } = last
    const write = (bytes: Uint8Array): boolean => {
      frames.push(bytes)
      this.#waitingBytes += bytes.length
      return true
    }
    this.#put({ write }, op, data, length, suits)
  }

  /** Reserves the next place in the order. Messages that waited behind the last one go first. */
  #hold(): void {
    const last = this.#place
    this.#place = this.#conn.defer()
    last?.end()
    this.#place.write('')
  }

  #goOn(): void {
    for (;;) {
      const next = this.#waiting?.[0]
      if (next === undefined) return this.#finish()
      if (next.kind === 'large') return this.#compress(next.op, next.bytes)
      if (next.kind === 'close') {
        // Nothing may come behind it.
        this.#hold()
        sendFrame(this.#place!, opcode.close, next.payload)
        this.#waiting?.shift()
        continue
      }
      const { bytes } = next.frames
      this.#room = this.#place!.write(bytes)
      this.#taken(bytes.length)
    }
  }

  #compress(op: Opcode, bytes: Buffer): void {
    const place = this.#place!
    this.#deflation.later(bytes, this.#windowBits).then(
      (deflated) => {
        // Dropped meanwhile.
        if (this.#place !== place) return
        this.#room = putShorter(place, op, bytes, deflated, bytes.length)
        this.#taken(bytes.length)
        if (this.#waiting !== undefined && this.#waiting.length > 0) this.#hold()
        this.#goOn()
      },
      (error: unknown) => {
        if (this.#place !== place) return
        this.drop()
        place.end()
        this.#events.onFailure(error)
      },
    )
  }

  #taken(bytes: number): void {
    this.#waiting?.shift()
    this.#waitingBytes -= bytes
  }

  #finish(): void {
    this.#place?.end()
    const actions = this.#whenIdle
    this.drop()
    for (const action of actions ?? []) action()
    if (!this.#saidNo) return
    this.#saidNo = false
    // Otherwise the out buffer says so when it has drained.
    if (this.#room) this.#events.onRoom()
  }

  #put(target: FrameTarget, op: Opcode, data: string | Uint8Array, length: number, suits: boolean): boolean {
    if (!suits) return sendFrame(target, op, data)
    return putShorter(target, op, data, this.#deflation.now(bytesOf(data), this.#windowBits), length)
  }
}

/** The shorter one of both forms of a message. */
function putShorter(target: FrameTarget, op: Opcode, data: string | Uint8Array, deflated: Buffer, plain: number): boolean {
  return deflated.length < plain ? sendFrame(target, op, deflated, true) : sendFrame(target, op, data)
}
