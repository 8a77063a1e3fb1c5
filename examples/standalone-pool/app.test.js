import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pool } from '@multireactor/pool'

test('counts primes, and says what is not a number', async (t) => {
  const pool = new Pool({ worker: new URL('./parse.js', import.meta.url), size: 1 })
  t.after(() => pool.close())
  assert.equal(String(await pool.run('100')), '25')
  await assert.rejects(pool.run('pear'), { code: 'ERR_MR_TASK_FAILED' })
})
