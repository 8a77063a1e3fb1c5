import assert from 'node:assert/strict'
import { test } from 'node:test'
import { serve } from 'multireactor'
import { RpcClient } from './client.ts'

test('answers light calls, heavy ones and wrong ones', async (t) => {
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: { port: 0, host: '127.0.0.1' },
    reactors: 1,
    pool: 1,
  })
  t.after(() => server.close())
  const client = await RpcClient.connect(server.listeners[0]!.port)
  t.after(() => client.close())
  assert.equal(await client.call('add', { a: 1, b: 2 }), 3)
  assert.deepEqual(await client.call('primes', { below: 100 }), { count: 25 })
  await assert.rejects(client.call('primes', { below: -1 }), { code: 'bad-request' })
})
