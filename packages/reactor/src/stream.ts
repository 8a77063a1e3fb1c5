import type { CloseReason } from '@multireactor/addon'
import type { PieceSize } from './piece_size.js'

/** Events for the owner of a connection's bytes, instead of the hooks. */
export interface ConnectionStream {
  /** The size of the pieces of received bytes that it gets at once. */
  readonly pieces: PieceSize
  received(bytes: Buffer): void
  /** The peer has finished sending. */
  ended(): void
  /** There is room again; or the FIN that was asked for has left. */
  drained(): void
  timedOut(): void
  closed(reason: CloseReason, errno: number): void
  /** The server is closing, or this thread has a successor: end as soon as it makes sense. */
  closing(): void
}

/** Where a listener listens, as an existing server's `address()` says it. */
export interface ServerPlace {
  address: string
  port: number
}

/** An existing server behind a listener's hooks, as the engine sees it. */
export interface ExistingServerSide {
  /** Connections may come from now on. */
  listening(place: ServerPlace): void
  /** Its connections are to end soon; fresh ones may still come. `idleStay`: those that wait for a request are told with its answer, */
  closing(idleStay: boolean): void
  /** until here. */
  endIdle(): void
  /** The last one has ended, or its time is over. */
  closed(): void
}
