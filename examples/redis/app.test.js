import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { serve } from 'multireactor'

process.env.SHARDS = '1' // as main.js does

test('sets and gets', async (t) => {
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: { port: 0, host: '127.0.0.1' },
    reactors: 1,
  })
  t.after(() => server.close())
  const socket = connect(server.listeners[0].port, '127.0.0.1')
  const command = (/** @type {string[]} */ ...words) =>
    `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`
  socket.end(command('SET', 'key', 'value') + command('GET', 'key') + command('PING'))
  assert.equal(await text(socket), '+OK\r\n$5\r\nvalue\r\n+PONG\r\n')
})
