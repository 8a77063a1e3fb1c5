import { defineApp, lines } from '@multireactor/core'
import { lineHandlers } from '../work.js'

export default defineApp({
  framing: lines({ maxBytes: 1 << 20 }),
  message(conn, frame) {
    conn.write(lineHandlers.json(frame.toString()))
  },
})
