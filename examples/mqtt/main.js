import { handleSignals, serve } from 'multireactor'

// PORT=0 lets the system choose. On a HOST that others can reach it starts only with MQTT_USERS, a file that `new_user.js` writes.
const { PORT = '1883', HOST = '127.0.0.1', REACTORS = '2', MEMORY_MIB = '64' } = process.env

const starting = serve({
  app: new URL('./app.ts', import.meta.url),
  listen: { port: Number(PORT), host: HOST },
  reactors: Number(REACTORS),
  // Messages on their way to and from connections. A small number makes the threads collect their garbage sooner.
  limits: { memory: Number(MEMORY_MIB) * 2 ** 20 },
})

// SIGTERM and SIGINT close in order, SIGHUP reloads.
handleSignals(starting)

const [{ address, port }] = (await starting).listeners
console.log(`listening on ${address}:${port} with ${REACTORS} reactors`)
