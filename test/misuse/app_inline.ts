import { defineApp, lines } from '@multireactor/core'
import { narrow } from './story.js'
import { refuse, work } from './work.js'

export default defineApp({
  framing: lines(),
  run: 'auto',
  parse: work,
  overloaded: refuse,
  ...narrow,
})
