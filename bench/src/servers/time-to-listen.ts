import { serve } from '@multireactor/core'

// Says how long serve() took, from its call to the moment when every reactor accepts.
const begun = performance.now()
const server = await serve({
  app: new URL('../apps/json.js', import.meta.url),
  listen: { port: 0, host: '127.0.0.1' },
  reactors: 2,
  pool: 2,
})
process.stdout.write(`${performance.now() - begun}\n`)
await server.close({ timeoutMs: 0 })
