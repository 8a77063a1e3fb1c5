import type { WorkerReplaced } from '@multireactor/pool'
import type { ReactorReplaced } from './reactor_group_options.js'
import type { ThreadStats } from './stats.js'

/** One address that a server listens on. */
export interface ServerListener {
  /** Its name: `conn.listener` of its connections. */
  readonly name: string
  /** The literal address, or the Unix path. */
  readonly address: string
  /** 0 for a Unix path. */
  readonly port: number
  /** How many reactors accept its connections. */
  readonly reactors: number
}

/** The result of `server.stats()`: docs/metrics.md. */
export interface ServerStats extends ThreadStats {
  /** Pool workers replaced since the start. */
  workersReplaced: number
  /** Reactor threads replaced since the start. */
  reactorsReplaced: number
}

/** The fate of the connections that were open at `server.close()`. */
export interface CloseResult {
  /** Replies that left while the server was closing. */
  answered: number
  /** Connections that were still open when the time was over. */
  destroyed: number
  /** Frames refused because the queue was full. */
  shed: number
}

/** Events of a server with their arguments. An event without a listener goes to the logger. */
export interface ServerEvents {
  /** A pool worker died or ran out of time, and has a successor. */
  workerReplaced: [replaced: WorkerReplaced]
  /** A reactor's thread died or did not turn any more; its connections go on with the next one. */
  reactorReplaced: [replaced: ReactorReplaced]
  /** Frames were refused on purpose, within the last second. */
  shed: [what: { frames: number }]
  /** A successor has the listening sockets (see `control`), and this server has finished its connections and closed. */
  handedOver: [result: CloseResult]
  /**
   * A hook or `parse` failed (it cost at most its connection), or a thread did. Each one is an event. Without a listener it is logged: of
   * hooks at most one line a second for each listener, hook and code (or class) of error.
   */
  error: [error: Error, context: { hook: string; listener: string; thread: string }]
}
