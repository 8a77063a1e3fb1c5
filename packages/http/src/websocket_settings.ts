import { MultireactorError } from '@multireactor/addon'
import type { Framing } from '@multireactor/reactor'
import { webSocket } from '@multireactor/reactor/parts'
import { Deadlines } from './deadlines.js'
import { DeflatingPublisher } from './deflating_publisher.js'
import { Deflation } from './deflation.js'
import type { WebSocketConnection } from './websocket_connection.js'
import type { ReadWebSocketOptions, WebSocketOptions } from './websocket_options.js'

/** The app's settings for its WebSockets, and those that are open on this thread. */
export class WebSocketSettings {
  readonly own: WebSocketOptions
  readonly protocols: readonly string[]
  readonly maxMessageBytes: number
  /** False: a message waits for a slow peer; and the peer goes when too many do. */
  readonly dropsForSlow: boolean
  /** Messages are compressed for peers that want it. */
  readonly deflation: Deflation | undefined
  readonly publisher: DeflatingPublisher | undefined
  readonly #framings: Framing[] = []
  readonly #frameTimeoutMs: number
  readonly sockets: Set<WebSocketConnection> = new Set()
  /** Peers that may be silent for a while. */
  readonly quiet: Deadlines<WebSocketConnection>
  /** Those that have been asked for a sign of life. */
  readonly asked: Deadlines<WebSocketConnection>
  /** Those that we have said goodbye to. */
  readonly unanswered: Deadlines<WebSocketConnection>

  constructor(options: ReadWebSocketOptions) {
    this.own = options.own
    this.protocols = options.protocols
    this.maxMessageBytes = options.maxMessageBytes
    this.dropsForSlow = options.slow === 'drop'
    this.deflation = options.deflate && new Deflation(options.deflate)
    this.publisher = this.deflation && new DeflatingPublisher(this.deflation)
    this.#frameTimeoutMs = options.frameTimeoutMs
    this.quiet = new Deadlines(
      options.pingIntervalMs,
      whileDriven((socket) => socket.onQuiet()),
    )
    this.asked = new Deadlines(
      options.pongTimeoutMs,
      whileDriven((socket) => socket.onSilence()),
    )
    this.unanswered = new Deadlines(
      options.closeTimeoutMs,
      whileDriven((socket) => socket.onUnanswered()),
    )
  }

  /** Of a peer that inflates with a window of so many bits; 0: that does not. */
  framing(windowBits: number): Framing {
    const { maxMessageBytes } = this
    this.#framings[windowBits] ??= webSocket({ maxMessageBytes, frameTimeoutMs: this.#frameTimeoutMs, windowBits })
    return this.#framings[windowBits]!
  }

  /** The reactor is about to close its connections; or this thread to leave, with those whose TLS lives in it. */
  goAway(boundOnly: boolean): void {
    for (const socket of [...this.sockets]) if (!boundOnly || socket.conn.encrypted) socket.goAway(boundOnly)
  }
}

/** A thread that has handed its reactor to another one may live on for a moment: its timers must do nothing. */
function whileDriven(action: (socket: WebSocketConnection) => void): (socket: WebSocketConnection) => void {
  return (socket) => {
    if (!socket.conn.isOpen) return
    try {
      action(socket)
    } catch (error) {
      if (!(error instanceof MultireactorError && error.code === 'ERR_MR_CLOSED')) throw error
    }
  }
}
