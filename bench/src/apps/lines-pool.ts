import { defineApp, lines } from '@multireactor/core'
import { lineHandlers } from '../work.js'

export default defineApp({
  framing: lines({ maxBytes: 1 << 20 }),
  parse(frame) {
    return lineHandlers.lines(frame.toString())
  },
})
