import { availableParallelism } from 'node:os'
import { serve } from 'multireactor'

// PORT=0 lets the system choose. Every reactor owns a share of the keys, so their number must be known to all threads.
const reactors = Number(process.env.REACTORS ?? availableParallelism())
process.env.SHARDS = String(reactors)

const server = await serve({
  app: new URL('./app.ts', import.meta.url),
  listen: { port: Number(process.env.PORT ?? 6379), host: '127.0.0.1' },
  reactors,
})

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.close())

const [{ port }] = server.listeners
console.log(`listening on port ${port} with ${reactors} reactors`)
