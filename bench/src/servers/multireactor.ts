import { serve } from '@multireactor/core'
import { announce, serverOptions } from './start.js'

// With a pool the app has only `parse`, and no JavaScript runs on a reactor. Without one the same work runs in `message`.
const { work, reactors, pool, listen } = serverOptions()
const app = work === 'json' && pool === 0 ? 'json-inline' : work

const server = await serve({ app: new URL(`../apps/${app}.js`, import.meta.url), listen, reactors, pool })
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
)
