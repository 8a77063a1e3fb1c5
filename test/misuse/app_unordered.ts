import { custom, defineApp } from '@multireactor/core'
import { misuse } from './hooks.js'
import { narrow } from './story.js'
import { task } from './tasks.js'
import { refuse, work } from './work.js'

export default defineApp({
  ...misuse({ pool: true, wild: false, echoPort: 0, dies: true }),
  framing: custom((bytes) => {
    const end = bytes.indexOf(10)
    return end < 0 ? undefined : { consumed: end + 1, frame: bytes.subarray(0, end) }
  }),
  order: 'none',
  allowHalfOpen: true,
  maxPendingMessages: 1,
  parse: work,
  task,
  overloaded: refuse,
  ...narrow,
})
