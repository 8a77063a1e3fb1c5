import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { serve } from 'multireactor'

test('frames each listener in its own way', async (t) => {
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: [
      { name: 'text', port: 0, host: '127.0.0.1' },
      { name: 'binary', port: 0, host: '127.0.0.1' },
      { name: 'readings', port: 0, host: '127.0.0.1' },
      { name: 'admin', port: 0, host: '127.0.0.1', app: new URL('./admin.ts', import.meta.url) },
    ],
    reactors: 1,
  })
  t.after(() => server.close())
  for (const [listener, sent, expected] of [
    ['text', 'hello\n', 'HELLO\n'],
    ['binary', '\0\x05hello', '\0\x05olleh'],
    ['admin', 'ping\nquit\n', 'pong\nbye\n'],
  ]) {
    const { port } = server.listeners.find(({ name }) => name === listener) ?? { port: 0 }
    const socket = connect(port, '127.0.0.1')
    socket.end(sent)
    assert.equal(await text(socket), expected)
  }
})
