import { MultireactorError } from '@multireactor/addon'
import type { Framing } from '@multireactor/reactor'
import { webSocket } from '@multireactor/reactor/parts'
import { Deadlines } from './deadlines.js'
import type { WebSocketConnection } from './websocket_connection.js'
import type { ReadWebSocketOptions, WebSocketOptions } from './websocket_options.js'

/** What an app has settled for its WebSockets, and those that are open on this thread. */
export class WebSocketSettings {
  readonly own: WebSocketOptions
  readonly protocols: readonly string[]
  readonly maxMessageBytes: number
  readonly framing: Framing
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
    this.framing = webSocket({ maxMessageBytes: options.maxMessageBytes, frameTimeoutMs: options.frameTimeoutMs })
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

  /** The reactor is about to close its connections; or this thread to leave, with those whose TLS lives in it. */
  goAway(boundOnly: boolean): void {
    for (const socket of [...this.sockets]) if (!boundOnly || socket.conn.encrypted) socket.goAway(boundOnly)
  }
}

/** A thread that has handed its reactor to another one may live on for a moment: its timers have nobody to speak to. */
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
