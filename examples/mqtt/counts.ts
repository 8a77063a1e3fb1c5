// Messages that this reactor did not deliver, by reason. `app.ts` publishes it as `$SYS/reactors/N/counts`.

export const counts = {
  /** QoS 0, for a client that did not read. */
  droppedForSlow: 0,
  /** QoS 1 and 2, for a session that was full. */
  droppedForFullSession: 0,
  /** QoS 0, for another reactor that could not be told. */
  droppedBetweenReactors: 0,
  /** Retained messages of other reactors for which there was no room here. */
  retainedWithoutRoom: 0,
  /** Connections closed with `outBuffer.max` of unread messages. */
  closedAsSlow: 0,
  /** Sessions that had no connection for `sessionSeconds`. */
  sessionsExpired: 0,
}
