import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { serve } from 'multireactor'

test('writes a line for each message', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'collector-'))
  t.after(() => rmSync(folder, { recursive: true }))
  process.env.OUT = join(folder, 'collected.jsonl')
  const server = await serve({
    app: new URL('./app.ts', import.meta.url),
    listen: { name: 'lines', port: 0, host: '127.0.0.1' },
    reactors: 1,
    pool: 1,
  })
  const socket = connect(server.listeners[0].port, '127.0.0.1')
  socket.end('<11>1 2026-01-02T03:04:05Z host app 7 - - it is full\nanything else\n')
  await text(socket)
  // The sinks are flushed when the server closes.
  await server.close()
  const records = readFileSync(process.env.OUT, 'utf8').trim().split('\n')
  const [first, second] = records.map((record) => JSON.parse(record)).sort((a, b) => b.format.localeCompare(a.format))
  assert.equal(records.length, 2)
  assert.deepEqual([first.format, first.severity, first.message], ['rfc5424', 3, 'it is full'])
  assert.deepEqual([second.format, second.message], ['none', 'anything else'])
})
