import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get } from 'node:http'
import { test } from 'node:test'
import { serve } from 'multireactor'

test('serves its page, and welcomes a member to a room', async (t) => {
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: { port: 0, host: '127.0.0.1' },
    reactors: 1,
  })
  t.after(() => server.close())
  const { port } = server.listeners[0]
  assert.match(await (await fetch(`http://127.0.0.1:${port}/`)).text(), /<title>chat<\/title>/)
  const headers = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': Buffer.alloc(16).toString('base64'),
  }
  const request = get({ port, host: '127.0.0.1', path: '/chat?room=lobby&name=ann', headers })
  const [, socket, head] = await once(request, 'upgrade')
  let heard = String(head)
  while (!heard.includes('"joined"')) heard += String((await once(socket, 'data'))[0])
  assert.match(heard, /"type":"welcome","room":"lobby"/)
  socket.destroy()
})
