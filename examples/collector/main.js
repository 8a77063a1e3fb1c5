import { handleSignals, serve } from 'multireactor'

const { PORT = '5514', SOCKET = '/tmp/collector.sock', METRICS_PORT = PORT === '0' ? '0' : '9100' } = process.env
const { REACTORS = '2', POOL = '2', PER_ADDRESS = '100' } = process.env

const starting = serve({
  app: new URL('./app.ts', import.meta.url),
  listen: [
    { name: 'lines', port: Number(PORT) },
    { name: 'octets', port: PORT === '0' ? 0 : Number(PORT) + 1 },
    { name: 'local', path: SOCKET },
    // Only for this machine, and by an app of its own.
    { name: 'metrics', host: '127.0.0.1', port: Number(METRICS_PORT), app: new URL('./metrics.ts', import.meta.url) },
  ],
  reactors: Number(REACTORS),
  // When a burst fills the queue the reactors stop reading, and TCP makes the senders wait: nothing is lost.
  pool: { size: Number(POOL), maxQueued: 4096, onQueueFull: 'pause' },
  limits: { connectionsPerAddress: Number(PER_ADDRESS) },
})

// SIGTERM and SIGINT close in order, SIGHUP reloads.
handleSignals(starting)

const { listeners } = await starting
for (const { name, address, port } of listeners) {
  console.log(port === 0 ? `${name} listening on ${address}` : `${name} listening on port ${port}`)
}
