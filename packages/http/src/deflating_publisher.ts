import { MultireactorError } from '@multireactor/addon'
import type { ConnectionLink, Deflated } from '@multireactor/reactor/parts'
import { bytesOf, type Deflation, mostNow } from './deflation.js'
import { type Opcode, opOf, plainMessage } from './websocket_frames.js'

/** The cost of a waiting message beside its bytes. */
const perMessage = 256
/** As much as may wait to be delivered. */
const mostWaiting = 64 << 20

// biome-ignore lint/suspicious/noExplicitAny: the data of the connections belongs to the app
type AnyConnection = ConnectionLink<any>

interface Waiting {
  conn: AnyConnection
  topic: string
  frame: Buffer
  /** Undefined: it is still being compressed. */
  ready: boolean
  deflated: Deflated | undefined
}

/**
 * Publishes the messages of the WebSockets of one thread: each is compressed once for all subscribers. While a large one is compressed on
 * another thread, the others wait behind it, so that all see them in the order in which they were published.
 */
export class DeflatingPublisher {
  readonly #deflation: Deflation
  /** In the order of the calls. */
  readonly #waiting = new Set<Waiting>()
  #waitingBytes = 0

  constructor(deflation: Deflation) {
    this.#deflation = deflation
  }

  /** False: refused. */
  publish(conn: AnyConnection, topic: string, data: string | Uint8Array): boolean {
    const bytes = bytesOf(data)
    const frame = plainMessage(data)
    const suits = this.#deflation.suits(bytes.length, this.#deflation.limits.serverMaxWindowBits)
    const small = suits && bytes.length <= mostNow
    const deflated = small ? this.#deflation.formNow(opOf(data), bytes) : undefined
    const ready = small || !suits
    if (ready && this.#waiting.size === 0) return conn.publishFor(topic, frame, deflated)
    if (this.#waitingBytes + frame.length + perMessage > mostWaiting) return false
    const kept = ready ? frame : countedCopy(conn, frame)
    const waiting: Waiting = { conn, topic, frame: kept, ready, deflated }
    this.#waiting.add(waiting)
    this.#waitingBytes += kept.length + perMessage
    if (!ready) this.#compress(waiting, opOf(data), kept.subarray(kept.length - bytes.length))
    return true
  }

  /** The connection leaves this thread: its publications go now, uncompressed. */
  leave(conn: AnyConnection): void {
    let count = 0
    let last = 0
    for (const each of this.#waiting) {
      count++
      if (each.conn === conn) last = count
    }
    for (const each of this.#waiting) {
      if (last-- === 0) return
      this.#publishFirst(each)
    }
  }

  #compress(waiting: Waiting, op: Opcode, bytes: Uint8Array): void {
    const settle = (deflated: Deflated | undefined): void => {
      waiting.ready = true
      waiting.deflated = deflated
      for (const each of this.#waiting) {
        if (!each.ready) return
        this.#publishFirst(each)
      }
    }
    // Without memory for it, it goes as it is.
    this.#deflation.formLater(op, bytes).then(settle, () => settle(undefined))
  }

  #publishFirst(first: Waiting): void {
    this.#waiting.delete(first)
    const { conn, topic, frame, deflated } = first
    this.#waitingBytes -= frame.length + perMessage
    try {
      conn.publishFor(topic, frame, deflated)
    } catch (error) {
      // The thread had no time to pass on its compressed messages.
      if (!(error instanceof MultireactorError)) throw error
    }
  }
}

function countedCopy(conn: AnyConnection, frame: Buffer): Buffer {
  const copy = conn.allocate(frame.length)
  copy.set(frame)
  return copy
}
