import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { serve } from 'multireactor'
import { login, message, numbered, types } from './protocol.js'

test('sends a command from the API to a device, and its result back', async (t) => {
  const secret = 'the secret of all devices'
  Object.assign(process.env, { DEVICE_SECRET: secret, API_TOKEN: 'the token of the API' })
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: [
      { name: 'sensors', port: 0, host: '127.0.0.1' },
      { name: 'api', port: 0, host: '127.0.0.1', app: new URL('./api.ts', import.meta.url) },
    ],
    reactors: 2,
    pool: 0,
  })
  t.after(() => server.close())
  const [sensors, api] = server.listeners
  const device = connect(sensors.port, '127.0.0.1')
  device.write(login('kettle', secret))
  assert.deepEqual((await once(device, 'data'))[0], message(types.welcome))
  device.on('data', (command) => device.write(numbered(types.result, command.readUInt32BE(3), 'hot')))
  const response = await fetch(`http://127.0.0.1:${api.port}/devices/kettle/command`, {
    method: 'POST',
    headers: { authorization: 'Bearer the token of the API' },
    body: 'heat',
  })
  assert.deepEqual([response.status, await response.text()], [200, 'hot'])
  device.destroy()
})
