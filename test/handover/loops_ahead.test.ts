import { setEnvironmentData } from 'node:worker_threads'
import { serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('the next thread of a place, when it loops before its first turn', () => {
  const before = census()
  afterEach(() => {
    setEnvironmentData('loops ahead', undefined)
    expectNothingLeft(before)
  })

  for (const [role, deadly] of [
    ['reactor', 'exit'],
    ['worker', 'pool exit'],
  ] as const) {
    it(`is ended and replaced: ${role}`, async () => {
      await using server = await serve({
        app: app('loops-ahead'),
        listen: { port: 0, host: '127.0.0.1' },
        reactors: 1,
        pool: { size: 1, taskTimeoutMs: 400 },
        hookTimeoutMs: 400,
      })
      const failed = new Promise<unknown>((resolve) => server.once('error', resolve))
      const lost: string[] = []
      const ended = new Promise<void>((resolve) => {
        server.on('workerReplaced', ({ reason }) => {
          lost.push(reason)
          if (lost.length === 2) resolve()
        })
      })
      server.on('reactorReplaced', () => {})
      const { port } = server.listeners[0]!
      const [polite, deathly] = await Promise.all([Client.connect(port), Client.connect(port)])
      polite.write('first\n')
      await polite.lines(1)
      setEnvironmentData('loops ahead', role)
      deathly.write(`${deadly}\n`)
      await deathly.untilClosed()
      polite.write('second\npool third\n')
      await (role === 'reactor' ? failed : ended)
      setEnvironmentData('loops ahead', undefined)
      expect(await polite.lines(3)).to.deep.equal(['first', 'second', 'pool third'])
      polite.destroy()
    })
  }
})
