import { serve } from '@multireactor/core'
import { announce, serverOptions } from './start.js'

// With a pool the app has only `parse`, and no JavaScript runs on a reactor, unless the app leaves that to the runtime. Without a pool
// the same work runs in `message`.
const { work, reactors, pool, listen, run, tryOnly } = serverOptions()

const inlineApps = { echo: 'echo', bytes: 'bytes', lines: 'lines', orders: 'json-inline', json: 'json-inline', idle: 'context' }
const poolApps = { echo: 'echo', bytes: 'bytes', lines: 'lines-pool', orders: 'json', json: 'json', idle: 'idle-pool' }
const autoApps = { echo: 'echo', bytes: 'bytes', lines: 'lines-auto', orders: 'json-auto', json: 'json-auto', idle: 'idle-pool' }
const apps = run === 'auto' ? autoApps : pool === 0 ? inlineApps : poolApps

const asked = performance.now()
const server = await serve({ app: new URL(`../apps/${apps[work]}.js`, import.meta.url), listen, reactors, pool })
const serveMs = performance.now() - asked

if (tryOnly) await server.close()
else {
  announce(
    server.listeners.map(({ address, port }) => port || address),
    () => {
      const stats = server.stats()
      return {
        open: stats.connections.open,
        frames: stats.reactors.map(({ framesRead }) => framesRead),
        held: stats.reactors.reduce((sum, { repliesHeld }) => sum + repliesHeld, 0),
      }
    },
    serveMs,
  )
}
