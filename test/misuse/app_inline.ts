import { defineApp, lines } from '@multireactor/core'
import { narrow } from './story.js'
import { task } from './tasks.js'
import { refuse, work } from './work.js'

export default defineApp({
  framing: lines(),
  run: 'auto',
  parse: work,
  task,
  overloaded: refuse,
  ...narrow,
})
