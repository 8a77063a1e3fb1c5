import { defineApp, lines } from '@multireactor/core'
import { lineHandlers } from '../work.js'

/** A connection object and a context of its own: as in any app with state. */
export default defineApp({
  framing: lines({ maxBytes: 1 << 20 }),
  // Longer than the measurement: the timer is part of the cost of an idle connection.
  firstByteTimeoutMs: 3_600_000,
  open() {
    return { frames: 0 }
  },
  message(conn, frame) {
    conn.data.frames++
    conn.write(lineHandlers.json(frame.toString()))
  },
})
