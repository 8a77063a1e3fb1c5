import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { serve } from 'multireactor'

test('accepts a client on whatever reactor, and answers its ping', async (t) => {
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: { port: 0, host: '127.0.0.1' },
    reactors: 2,
  })
  t.after(() => server.close())
  const socket = connect(server.listeners[0].port, '127.0.0.1')
  // CONNECT: MQTT 3.1.1, a clean session, the client id `test`; then PINGREQ.
  socket.write(Buffer.from([0x10, 16, 0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 60, 0, 4, ...Buffer.from('test')]))
  assert.deepEqual([...(await once(socket, 'data'))[0]], [0x20, 2, 0, 0])
  socket.write(Buffer.from([0xc0, 0]))
  assert.deepEqual([...(await once(socket, 'data'))[0]], [0xd0, 0])
  socket.destroy()
})
