import { availableParallelism } from 'node:os'
import { handleSignals, serve } from 'multireactor'

// PORT=0 lets the system choose. Every reactor owns a share of the keys, so their number must be known to all threads.
const reactors = Number(process.env.REACTORS ?? availableParallelism())
process.env.SHARDS = String(reactors)

const starting = serve({
  app: new URL('./app.ts', import.meta.url),
  listen: { port: Number(process.env.PORT ?? 6379), host: '127.0.0.1' },
  reactors,
})

// SIGTERM and SIGINT close in order, SIGHUP reloads.
handleSignals(starting)

const { listeners } = await starting
const [{ port }] = listeners
console.log(`listening on port ${port} with ${reactors} reactors`)
