import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'

test('welcomes, and closes in order on SIGTERM', async () => {
  const main = fileURLToPath(new URL('./main.js', import.meta.url))
  const program = spawn(process.execPath, [main], { env: { ...process.env, PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(createInterface({ input: program.stdout }), 'line')
  const socket = connect(Number(line.split(' ').at(-1)), '127.0.0.1')
  const heard = text(socket)
  await once(socket, 'ready')
  program.kill()
  assert.equal(await heard, 'welcome, you are one of 1\n')
  const [code] = await once(program, 'exit')
  assert.equal(code, 0)
})
