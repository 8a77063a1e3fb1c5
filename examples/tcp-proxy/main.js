import { handleSignals, serve } from 'multireactor'

const { PORT = '7000', REACTORS = '2', PROXY_FROM, CONNECTIONS, CONNECTIONS_PER_ADDRESS } = process.env

const starting = serve({
  app: new URL('./app.ts', import.meta.url),
  listen: {
    name: 'proxy',
    port: Number(PORT),
    // Behind another proxy: who the peers are is in the header that it sends.
    ...(PROXY_FROM ? { proxyProtocol: { from: PROXY_FROM.split(',') } } : {}),
  },
  reactors: Number(REACTORS),
  pool: 0,
  limits: {
    // Each client takes two: its own connection, and the one to an upstream.
    ...(CONNECTIONS ? { connections: Number(CONNECTIONS) } : {}),
    ...(CONNECTIONS_PER_ADDRESS ? { connectionsPerAddress: Number(CONNECTIONS_PER_ADDRESS) } : {}),
  },
})

// SIGTERM and SIGINT close in order, SIGHUP reloads.
handleSignals(starting)

const { listeners } = await starting
for (const { name, port } of listeners) console.log(`${name} listening on port ${port}`)
