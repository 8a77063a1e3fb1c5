import { attach } from 'multireactor'
import { build } from './service.ts'

// Once in each reactor's thread.
export default attach(async () => {
  const app = build()
  await app.ready()
  return { server: app.server, close: () => app.close() }
})
