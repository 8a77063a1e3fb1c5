// `npm test`: the server as `npm start` starts it, and a client of lines.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'

let server: ChildProcess
let port: number

before(async () => {
  const env = { ...process.env, PORT: '0', REACTORS: '2' }
  server = spawn(process.execPath, ['main.js'], { cwd: fileURLToPath(new URL('.', import.meta.url)), env })
  server.stderr!.pipe(process.stderr)
  const [line] = await once(server.stdout!.setEncoding('utf8'), 'data')
  port = Number(/listening on port (\d+)/.exec(line)![1])
})

after(async () => {
  const exited = once(server, 'exit')
  server.kill('SIGTERM')
  assert.deepEqual(await exited, [0, null])
})

/** Sends some lines in one write and returns the server's answers to all of them. */
async function ask(...lines: string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.setEncoding('latin1').end([...lines, ''].join('\r\n'))
  let received = ''
  for await (const part of socket) received += part
  return received
}

test('keys, over all shards', async () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f']
  assert.equal(await ask(...names.map((name) => `SET ${name} ${name}!`)), '+OK\r\n'.repeat(6))
  assert.equal(await ask(...names.map((name) => `GET ${name}`)), names.map((name) => `$2\r\n${name}!\r\n`).join(''))
  assert.equal(await ask('MGET a b none'), '*3\r\n$2\r\na!\r\n$2\r\nb!\r\n$-1\r\n')
  assert.equal(await ask('DBSIZE', 'KEYS [a-c]x', 'DEL a b c d e f', 'DBSIZE'), ':6\r\n*0\r\n:6\r\n:0\r\n')
})

test('commands take effect in the order in which they were sent', async () => {
  for (const name of ['a', 'b', 'c', 'd']) {
    const replies = '+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:11\r\n$2\r\n11\r\n:1\r\n'
    assert.equal(await ask(`SET ${name} 10`, 'MULTI', `INCR ${name}`, 'EXEC', `GET ${name}`, `DEL ${name}`), replies)
  }
})

test('what is no command is told why', async () => {
  assert.equal(await ask('PING', '*1', '$x'), '+PONG\r\n-ERR Protocol error: invalid bulk length\r\n')
})
