import { defineApp, lines } from '@multireactor/core'
import { narrow } from './story.js'
import { task } from './tasks.js'
import { refuse, work } from './work.js'

/** Nothing of JavaScript on a reactor. */
export default defineApp({
  framing: lines(),
  parse: work,
  task,
  overloaded: refuse,
  ...narrow,
  maxInFlight: 8,
})
