import { serve } from '@multireactor/core'
import { announce, serverOptions } from './start.js'

// With a pool the app has only `parse`, and no JavaScript runs on a reactor. Without one the same work runs in `message`.
const { work, reactors, pool } = serverOptions()
const app = work === 'json' && pool === 0 ? 'json-inline' : work

const server = await serve({ app: new URL(`../apps/${app}.js`, import.meta.url), listen: 0, reactors, pool })
announce(server.listeners[0]!.port)
