import { handleSignals, serve } from 'multireactor'

const { PORT = '7000', REACTORS = '2', BUSY_MS = '1000' } = process.env

for (const [name, value] of Object.entries({ PORT, REACTORS, BUSY_MS })) {
  if (/^\d{1,5}$/.test(value)) continue
  console.error(`${name} must be a whole number, and is '${value}'`)
  process.exit(2)
}

const starting = serve({
  app: new URL('./app.ts', import.meta.url),
  listen: { name: 'readings', port: Number(PORT) },
  reactors: Number(REACTORS),
  // As many readings as `concurrency` wait in the worker for their commit: with the default of 32 a batch could have no more. When these and the
  // queue are full, the reactors stop reading, and TCP makes the senders wait.
  pool: { size: 1, concurrency: 4_096, maxQueued: 8_192, onQueueFull: 'pause' },
})

// SIGTERM and SIGINT close in order, SIGHUP reloads.
handleSignals(starting)

const { listeners } = await starting
for (const { name, port } of listeners) console.log(`${name} listening on port ${port}`)
