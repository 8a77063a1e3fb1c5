import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { serve } from 'multireactor'

test('answers in order, from several workers', async (t) => {
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: { port: 0, host: '127.0.0.1' },
    reactors: 1,
    pool: 2,
  })
  t.after(() => server.close())
  const socket = connect(server.listeners[0].port, '127.0.0.1')
  socket.end('one\ntwo\nthree\n')
  assert.match(await text(socket), /^worker \d: one\nworker \d: two\nworker \d: three\n$/)
})
