import { defineApp, lines } from '@multireactor/core'
import { work } from './work.js'

export default defineApp({
  framing: lines(),
  run: 'auto',
  parse: work,
})
