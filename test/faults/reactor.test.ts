import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { Faults } from '../support/faults.js'

describe('a reactor on its own that cannot accept', () => {
  before(function () {
    this.timeout(120_000) // the first time, a compiler runs
    Faults.build()
  })

  it('says so once a second, and accepts when it can again', async () => {
    const faults = new Faults()
    const child = spawn(process.execPath, [app('faults-reactor').pathname], {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      env: { ...process.env, ...faults.env },
    })
    const ended = once(child, 'close')
    try {
      const said = text(child.stderr!)
      const [port] = (await once(child, 'message')) as [number]
      const fault = faults.inject({ call: 'accept4', error: 'EMFILE', times: 12 })
      const startedAt = performance.now()
      const client = await Client.connect(port)
      client.write('hello')
      expect((await client.bytes(5)).toString()).to.equal('hello')
      const seconds = (performance.now() - startedAt) / 1_000
      expect(fault.happened).to.equal(12)
      client.destroy()
      child.send('close')
      const [acceptErrors] = (await once(child, 'message')) as [number]
      expect(acceptErrors).to.equal(12)
      const lines = (await said).split('\n').filter((line) => line.includes('cannot accept: EMFILE'))
      expect(lines.length).to.be.within(1, 1 + Math.floor(seconds))
    } finally {
      child.kill('SIGKILL')
      await ended
      faults.close()
    }
  })
})
