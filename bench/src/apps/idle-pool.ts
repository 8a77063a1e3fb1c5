import { defineApp, lines } from '@multireactor/core'
import { lineHandlers } from '../work.js'

/** The orders app, for connections that say nothing. */
export default defineApp({
  framing: lines({ maxBytes: 1 << 20 }),
  // Longer than the measurement: the timer is part of the cost of an idle connection.
  firstByteTimeoutMs: 3_600_000,
  parse(frame) {
    return lineHandlers.json(frame.toString())
  },
})
