import { defineApp, lines } from '@multireactor/core'
import { work } from './work.js'

/** Nothing of JavaScript on a reactor. */
export default defineApp({
  framing: lines(),
  parse: work,
  maxInFlight: 8,
})
