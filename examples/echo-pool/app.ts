import { setTimeout } from 'node:timers/promises'
import { defineApp, lines } from 'multireactor'

let worker = -1

// The classic: one handler for each message, written from top to bottom as if it owned a thread.
export default defineApp({
  framing: lines(),
  start({ role, index }) {
    if (role === 'worker') worker = index
  },
  async parse(line, ctx) {
    const name = line.toString()
    await setTimeout(20, undefined, { signal: ctx.signal }) // stands for a query, a file, a call to another service
    return `worker ${worker}: ${name}\n`
  },
})
