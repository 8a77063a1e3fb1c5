import assert from 'node:assert/strict'
import { test } from 'node:test'
import { build } from './service.ts'

test('keeps notes', async () => {
  const app = build()
  const made = await app.inject({ method: 'POST', url: '/notes', payload: { text: 'milk' } })
  assert.equal(made.statusCode, 201)
  assert.deepEqual(made.json(), { id: 1, text: 'milk' })
  assert.deepEqual((await app.inject('/notes/1')).json(), { id: 1, text: 'milk' })
  assert.equal((await app.inject('/notes/2')).statusCode, 404)
  await app.close()
})

test('refuses a note without text', async () => {
  const app = build()
  assert.equal((await app.inject({ method: 'POST', url: '/notes', payload: {} })).statusCode, 400)
  await app.close()
})
