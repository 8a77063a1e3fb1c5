import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { serve } from 'multireactor'

test('sends back what it gets', async (t) => {
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: { port: 0, host: '127.0.0.1' },
    reactors: 1,
  })
  t.after(() => server.close())
  const socket = connect(server.listeners[0].port, '127.0.0.1')
  socket.end('hello')
  assert.equal(await text(socket), 'hello')
})
