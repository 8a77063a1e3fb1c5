import { defineApp, lines } from '@multireactor/core'
import { describeOpen, misuse, start } from './hooks.js'
import { task } from './tasks.js'
import { work } from './work.js'

export default defineApp({
  ...misuse({ pool: true, wild: false, echoPort: 0, dies: true }),
  start,
  onCall: describeOpen,
  framing: lines(),
  parse: work,
  task,
  outBuffer: { high: 8 << 10, low: 1 << 10, max: 2 << 20 },
})
