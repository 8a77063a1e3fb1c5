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
const [measuring, acting, api] = settings.ports

const starting = serve({
  app: new URL('./app.ts', import.meta.url),
  listen: [
    { name: 'sensors', port: measuring },
    { name: 'actuators', port: acting },
    // Only for this machine, and by an app of its own.
    { name: 'api', host: '127.0.0.1', port: api, app: new URL('./api.ts', import.meta.url) },
  ],
  reactors: settings.reactors,
  pool: 0,
})

// SIGTERM and SIGINT close in order, SIGHUP reloads.
handleSignals(starting)

const { listeners } = await starting
for (const { name, port } of listeners) console.log(`${name} listening on port ${port}`)
