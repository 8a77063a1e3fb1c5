import { defineApp, lines } from '@multireactor/core'
import { lineHandlers } from '../work.js'

/** A connection object and a context of its own: what an app has that remembers anything. */
export default defineApp({
  framing: lines({ maxBytes: 1 << 20 }),
  open() {
    return { frames: 0 }
  },
  message(conn, frame) {
    conn.data.frames++
    conn.write(lineHandlers.json(frame.toString()))
  },
})
