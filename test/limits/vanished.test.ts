import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { setEnvironmentData } from 'node:worker_threads'
import { type CloseReason, serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const established = 1

/** The bytes that a peer sends, gets and sends at last, and its close reason. */
const peers: Record<string, { before: string; expected: string; last: string; reason: CloseReason }> = {
  'says nothing any more': { before: 'a\n', expected: 'a\n', last: '', reason: 'idle-timeout' },
  'never said anything': { before: '', expected: '', last: '', reason: 'first-byte-timeout' },
  'was in the middle of a frame': { before: 'a\nhalf a', expected: 'a\n', last: '', reason: 'frame-timeout' },
  'was owed eight megabytes': { before: 'a\n', expected: 'a\n', last: 'flood\n', reason: 'write-timeout' },
}

describe('a peer that vanishes without a word', () => {
  it('is given up when its time is over, whatever it was about, and nobody else', async () => {
    const before = census()
    // Limits of less than a second, where the defaults are a minute to ten.
    const limitMs = 600
    setEnvironmentData('hasty', {
      idleTimeoutMs: limitMs,
      firstByteTimeoutMs: limitMs,
      frameTimeoutMs: limitMs,
      writeTimeoutMs: limitMs,
    } as never)
    const server = await serve({ app: app('hasty'), listen: { port: 0, host: '127.0.0.1' }, reactors: 2, pool: 0 })
    const port = server.listeners[0]!.port
    const plan = JSON.stringify(Object.values(peers).map(({ before, expected, last }) => [before, expected, last]))
    const script = fileURLToPath(new URL('../../support/vanishing_peers.py', import.meta.url))
    const helper = spawn('python3', [script, `${port}`, plan], { stdio: ['pipe', 'pipe', 'inherit'] })
    const ended = once(helper, 'close')
    const lines = createInterface({ input: helper.stdout! })[Symbol.asyncIterator]()
    let going = true
    try {
      const other = await Client.connect(port)
      const talk = (async () => {
        for (let count = 1; going; count++) {
          other.write('still here\n')
          await other.lines(count)
          await new Promise((resolve) => setTimeout(resolve, 20)) // oftener than the limit of idleness
        }
      })()
      expect((await lines.next()).value).to.equal('vanished')
      const counted = () => server.stats().connections
      while (counted().open > 1 || counted().accepted < 5) await new Promise((resolve) => setImmediate(resolve))
      const { closed } = counted()
      for (const [what, { reason }] of Object.entries(peers)) expect(closed[reason], what).to.equal(1)
      // The kernel of the peers has heard nothing of it: it was our own limit that closed them.
      helper.stdin!.write('?\n')
      const states = JSON.parse((await lines.next()).value as string) as [number, number][]
      expect(states).to.deep.equal(Object.values(peers).map(() => [established, 0]))
      going = false
      await talk
      other.destroy()
    } finally {
      going = false
      helper.kill('SIGKILL')
      setEnvironmentData('hasty', undefined as never)
      await ended
      await server.close({ timeoutMs: 500 })
    }
    expectNothingLeft(before)
  })
})
