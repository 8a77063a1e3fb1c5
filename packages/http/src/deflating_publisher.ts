import { MultireactorError } from '@multireactor/addon'
import type { Connection } from '@multireactor/reactor'
import type { Deflated } from '@multireactor/reactor/parts'
import { bytesOf, deflatedForm, type Deflation, mostNow } from './deflation.js'
import { type Opcode, opOf, plainMessage } from './websocket_frames.js'

/** As much as may wait to be delivered. */
const mostWaiting = 64 << 20

// biome-ignore lint/suspicious/noExplicitAny: the data of the connections belongs to the app
type AnyConnection = Connection<any>

interface Waiting {
  conn: AnyConnection
  topic: string
  frame: Buffer
  /** Undefined: it is still being compressed. */
  ready: boolean
  deflated: Deflated | undefined
}

/**
 * Publishes the messages of the WebSockets of one thread: each is compressed once, whoever gets it. While a large one is compressed on
 * another thread, the others wait behind it, so that all see them in the order in which they were published.
 */
export class DeflatingPublisher {
  readonly #deflation: Deflation
  #waiting: Waiting[] = []
  #waitingBytes = 0

  constructor(deflation: Deflation) {
    this.#deflation = deflation
  }

  /** False: refused. */
  publish(conn: AnyConnection, topic: string, data: string | Uint8Array): boolean {
    const { serverMaxWindowBits } = this.#deflation.limits
    const bytes = bytesOf(data)
    const frame = plainMessage(data)
    const suits = this.#deflation.suits(bytes.length, serverMaxWindowBits)
    const small = suits && bytes.length <= mostNow
    const deflated = small
      ? deflatedForm(opOf(data), bytes.length, this.#deflation.now(bytes, serverMaxWindowBits), serverMaxWindowBits)
      : undefined
    const ready = small || !suits
    if (ready && this.#waiting.length === 0) return conn.internal.publishFor(topic, frame, deflated)
    if (this.#waitingBytes + frame.length > mostWaiting) return false
    // In memory that counts.
    const kept = conn.allocate(frame.length)
    kept.set(frame)
    const waiting: Waiting = { conn, topic, frame: kept, ready, deflated }
    this.#waiting.push(waiting)
    this.#waitingBytes += kept.length
    if (!ready) this.#compress(waiting, opOf(data), kept.subarray(kept.length - bytes.length))
    return true
  }

  /** The connection leaves this thread: what it has published goes now, as it is. */
  leave(conn: AnyConnection): void {
    const last = this.#waiting.map((each) => each.conn).lastIndexOf(conn)
    for (let i = 0; i <= last; i++) this.#publishFirst()
  }

  #compress(waiting: Waiting, op: Opcode, bytes: Uint8Array): void {
    const { serverMaxWindowBits } = this.#deflation.limits
    const settle = (deflated: Deflated | undefined): void => {
      waiting.ready = true
      waiting.deflated = deflated
      while (this.#waiting[0]?.ready) this.#publishFirst()
    }
    this.#deflation.later(bytes, serverMaxWindowBits).then(
      (deflated) => settle(deflatedForm(op, bytes.length, deflated, serverMaxWindowBits)),
      // Without memory for it, it goes as it is.
      () => settle(undefined),
    )
  }

  #publishFirst(): void {
    const { conn, topic, frame, deflated } = this.#waiting.shift()!
    this.#waitingBytes -= frame.length
    try {
      conn.internal.publishFor(topic, frame, deflated)
    } catch (error) {
      // A thread that had no time to hand on what it has compressed.
      if (!(error instanceof MultireactorError)) throw error
    }
  }
}
