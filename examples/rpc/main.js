import { handleSignals, serve } from 'multireactor'

const { PORT = '7000', REACTORS = '2', POOL = '2', CALL_TIMEOUT_MS = '30000' } = process.env

const starting = serve({
  app: new URL('./app.ts', import.meta.url),
  listen: { name: 'rpc', port: Number(PORT) },
  reactors: Number(REACTORS),
  // A full queue is said to the caller, instead of keeping him waiting: see `overloaded` in app.ts.
  pool: { size: Number(POOL), taskTimeoutMs: Number(CALL_TIMEOUT_MS), onQueueFull: 'reject' },
})

// SIGTERM and SIGINT close in order, SIGHUP reloads.
handleSignals(starting)

const { listeners } = await starting
for (const { name, port } of listeners) console.log(`${name} listening on port ${port}`)
