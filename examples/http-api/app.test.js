import assert from 'node:assert/strict'
import { test } from 'node:test'
import { serve } from 'multireactor'

test('answers light routes, and orders that are good and bad', async (t) => {
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: { port: 0, host: '127.0.0.1' },
    reactors: 1,
    pool: 1,
  })
  t.after(() => server.close())
  const url = `http://127.0.0.1:${server.listeners[0].port}`
  assert.equal(await (await fetch(`${url}/health`)).text(), 'ok\n')
  const order = async (/** @type {string} */ body) => {
    const response = await fetch(`${url}/orders`, { method: 'POST', body })
    return [response.status, await response.json()]
  }
  assert.deepEqual(await order('{"id":1,"lines":[{"price":5,"count":3}]}'), [200, { id: 1, total: 15 }])
  assert.deepEqual(await order('{"id":"x","lines":[{"price":5,"count":3}]}'), [422, { errors: ['id must be a whole number'] }])
  assert.deepEqual(await order('null'), [400, { errors: ['the body must be an object'] }])
})
