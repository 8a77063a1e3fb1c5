import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { serve } from 'multireactor'

test('passes bytes both ways', async (t) => {
  const upstream = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  t.after(() => upstream.close())
  const { port } = /** @type {import('node:net').AddressInfo} */ (upstream.address())
  process.env.UPSTREAMS = `127.0.0.1:${port}`
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: { port: 0, host: '127.0.0.1' },
    reactors: 1,
    pool: 0,
  })
  t.after(() => server.close())
  const socket = connect(server.listeners[0].port, '127.0.0.1')
  socket.end('hello')
  assert.equal(await text(socket), 'hello')
})
