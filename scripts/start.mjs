// Builds all that is out of date, then serves the orders example in this process, so that signals reach the server itself.
import { join } from 'node:path'
import { root, whenMain } from './lib.mjs'
import { prepare } from './prepare.mjs'

await whenMain(import.meta.url, async () => {
  prepare({ quick: true })
  const port = process.env.PORT ?? '7000'
  const shown = port === '0' ? 'PORT (the port that it names below)' : `localhost:${port}`
  console.log(`once it listens, try: npx multireactor send ${shown} '{"id":1,"price":2.5,"count":4}'`)
  process.chdir(root)
  process.argv.splice(1, Infinity, join(root, 'packages/multireactor/bin/multireactor.js'))
  process.argv.push('serve', 'examples/orders/app.ts', '--port', port, '--reactors', '2', '--pool', '2')
  await import('../packages/multireactor/bin/multireactor.js')
})
