import { defineApp, lines } from '@multireactor/core'
import { lineHandlers } from '../work.js'

// Placement by measurement. A core that does not know `run` refuses it, and the bench then leaves these servers out.
const app = {
  framing: lines({ maxBytes: 1 << 20 }),
  run: 'auto' as const,
  parse(frame: Buffer): string {
    return lineHandlers.lines(frame.toString())
  },
}

export default defineApp(app)
