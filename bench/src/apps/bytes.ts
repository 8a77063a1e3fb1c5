import { defineApp, lines } from '@multireactor/core'
import { returnBytes } from '../work.js'

const newline = Buffer.from('\n')

export default defineApp({
  framing: lines({ maxBytes: 1 << 20 }),
  message(conn, frame) {
    conn.write(returnBytes(frame))
    conn.write(newline)
  },
})
