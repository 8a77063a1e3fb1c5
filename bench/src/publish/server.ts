import { serve } from '@multireactor/core'

const server = await serve({ app: new URL('./app.js', import.meta.url), listen: 0, reactors: Number(process.env.REACTORS) })
console.log(server.listeners[0]!.port)
