import { serve } from 'multireactor'

const { PORT = '7000', REACTORS = '2', POOL = '2', CALL_TIMEOUT_MS = '30000' } = process.env

const server = await serve({
  app: new URL('./app.ts', import.meta.url),
  listen: { name: 'rpc', port: Number(PORT) },
  reactors: Number(REACTORS),
  // A full queue is said to the caller, instead of keeping him waiting: see `overloaded` in app.ts.
  pool: { size: Number(POOL), taskTimeoutMs: Number(CALL_TIMEOUT_MS), onQueueFull: 'reject' },
})

// Before anything is printed: whoever reads the lines may send a signal at once.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => server.close())

for (const { name, port } of server.listeners) console.log(`${name} listening on port ${port}`)
