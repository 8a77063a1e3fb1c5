import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { serve } from 'multireactor'
import { openDatabase } from './database.js'

test('stores a reading once, and says what is wrong with others', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ingest-'))
  t.after(() => rmSync(folder, { recursive: true }))
  process.env.DB = join(folder, 'ingest.db')
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: { port: 0, host: '127.0.0.1' },
    reactors: 1,
    pool: 1,
  })
  const socket = connect(server.listeners[0].port, '127.0.0.1')
  const reading = '{"id":"1","name":"kettle","value":99.5,"at":1}\n'
  socket.end(`${reading}null\n${reading}`)
  assert.equal(await text(socket), 'ok\nerror a reading is an object\nok\n')
  await server.close()
  const database = openDatabase(process.env.DB, 1_000)
  assert.deepEqual(
    database
      .prepare('select * from readings')
      .all()
      .map((row) => ({ .../** @type {object} */ (row) })),
    [{ id: '1', name: 'kettle', value: 99.5, at: 1 }],
  )
  database.close()
})
