import { handleSignals, serve } from 'multireactor'

// PORT and the three ports after it; PORT=0 lets the system choose all four.
const first = Number(process.env.PORT ?? 7000)
const port = (/** @type {number} */ offset) => (first === 0 ? 0 : first + offset)

const starting = serve({
  app: new URL('./app.ts', import.meta.url),
  listen: [
    { name: 'text', port: port(0) },
    { name: 'binary', port: port(1) },
    { name: 'readings', port: port(2) },
    { name: 'admin', host: '127.0.0.1', port: port(3), app: new URL('./admin.ts', import.meta.url) },
  ],
  reactors: 1,
})

// SIGTERM and SIGINT close in order, SIGHUP reloads.
handleSignals(starting)

const { listeners } = await starting
for (const { name, port } of listeners) console.log(`${name} listening on port ${port}`)
