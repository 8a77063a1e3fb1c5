import { defineApp, lines } from '@multireactor/core'
import { narrow } from './story.js'
import { refuse, work } from './work.js'

/** Nothing of JavaScript on a reactor. */
export default defineApp({
  framing: lines(),
  parse: work,
  overloaded: refuse,
  ...narrow,
  maxInFlight: 8,
})
