import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

// Says how long as many threads as a server with 2 reactors and 2 workers has take until all of them run, with nothing to load:
// a server's own part of the start is the difference.
const begun = performance.now()
const threads = Array.from({ length: 4 }, () => new Worker('setInterval(() => {}, 60_000)', { eval: true }))
await Promise.all(threads.map((thread) => once(thread, 'online')))
process.stdout.write(`${performance.now() - begun}\n`)
await Promise.all(threads.map((thread) => thread.terminate()))
