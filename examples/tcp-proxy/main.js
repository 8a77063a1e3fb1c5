import { handleSignals, serve } from 'multireactor'
import { readSettings } from './settings.js'

/** @type {ReturnType<typeof readSettings>} */
let settings
try {
  settings = readSettings(process.env)
} catch (error) {
  console.error(/** @type {Error} */ (error).message)
  process.exit(2)
}
const { port, reactors, proxyFrom, connections, connectionsPerAddress } = settings

const starting = serve({
  app: new URL('./app.ts', import.meta.url),
  listen: {
    name: 'proxy',
    port,
    // Behind another proxy: the peers' addresses are in its PROXY header.
    ...(proxyFrom ? { proxyProtocol: { from: proxyFrom } } : {}),
  },
  reactors,
  pool: 0,
  limits: {
    // Each client takes two: its own connection, and the one to an upstream.
    ...(connections ? { connections } : {}),
    ...(connectionsPerAddress ? { connectionsPerAddress } : {}),
  },
})

// SIGTERM and SIGINT close in order, SIGHUP reloads.
handleSignals(starting)

const { listeners } = await starting
for (const { name, port } of listeners) console.log(`${name} listening on port ${port}`)
