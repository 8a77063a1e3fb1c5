import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { serve } from 'multireactor'

test('answers every line in order, and bad ones with an error', async (t) => {
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: { port: 0, host: '127.0.0.1' },
    reactors: 1,
    pool: 1,
  })
  t.after(() => server.close())
  const socket = connect(server.listeners[0].port, '127.0.0.1')
  socket.end('{"id":1,"price":5,"count":3}\nnull\n{"id":2,"price":2,"count":2}\n')
  assert.deepEqual((await text(socket)).trim().split('\n'), [
    '{"id":1,"total":15}',
    '{"error":"an order needs a price and a count"}',
    '{"id":2,"total":4}',
  ])
})
