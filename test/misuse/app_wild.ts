import { defineApp, lines } from '@multireactor/core'
import { misuse } from './hooks.js'
import { task } from './tasks.js'
import { work } from './work.js'

export default defineApp({
  ...misuse({ pool: true, wild: true, echoPort: Number(process.env['MISUSE_ECHO'] ?? 0), dies: true }),
  framing: lines(),
  parse: work,
  task,
})
