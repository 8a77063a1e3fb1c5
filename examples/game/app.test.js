import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { serve } from 'multireactor'

test('players of one room see each other move, whatever reactor accepted them', async (t) => {
  const server = await serve({ app: new URL('./app.ts', import.meta.url), listen: { port: 0, host: '127.0.0.1' }, reactors: 2 })
  t.after(() => server.close())
  const players = ['ann', 'ben', 'eve'].map((name) => {
    const socket = connect(server.listeners[0].port, '127.0.0.1')
    socket.write(`{"type":"join","room":"lobby","name":"${name}"}\n{"type":"go","dx":1,"dy":0}\n`)
    return socket
  })
  for (const socket of players) {
    for await (const line of createInterface({ input: socket })) {
      const { type, players: seen } = JSON.parse(line)
      if (type === 'state' && seen.length === 3 && seen.every((/** @type {{ x: number }} */ { x }) => x === 1)) break
    }
  }
  for (const socket of players) socket.destroy()
  assert.equal(players.length, 3)
})
