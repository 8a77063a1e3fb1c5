import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { Faults } from '../support/faults.js'

describe('a reactor on its own', () => {
  before(function () {
    this.timeout(120_000) // the first time, a compiler runs
    Faults.build()
  })

  it('that cannot accept says so once a second, and accepts when it can again', async () => {
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

  it('that gets no memory for received bytes goes on when there is some, and has lost none of them', async () => {
    const faults = new Faults()
    const child = spawn(process.execPath, [app('faults-memory').pathname], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, ...faults.env },
    })
    const ended = once(child, 'close')
    try {
      const [port] = (await once(child, 'message')) as [number]
      // Lines in the slab that they are received into, and such as need one of their own.
      const lines = Array.from({ length: 40 }, (_, i) => `${i} `.repeat(i % 2 === 0 ? 3 : 60_000))
      const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''))
      const rules = [{ times: 5 }, { every: 2 }] as const
      for (const rule of rules) {
        const fault = faults.inject({ call: 'mmap', error: 'ENOMEM', ...rule })
        const client = await Client.connect(port)
        client.write(bytes)
        expect(bytes.equals(await client.bytes(bytes.length))).to.equal(true)
        expect(fault.happened).to.be.at.least(5)
        fault.stop()
        client.destroy()
      }
    } finally {
      child.kill('SIGKILL')
      await ended
      faults.close()
    }
  })
})
