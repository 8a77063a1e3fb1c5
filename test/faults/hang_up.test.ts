import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { faultSetup } from '../support/fault_setup.js'

describe('a peer that hangs up', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mr-'))
  const setup = faultSetup()
  after(() => rmSync(folder, { recursive: true }))

  // Epoll repeats a hang-up for ever, so a connection that does not read leaves the set. One whose socket said EAGAIN just then must
  // not be forgotten: nothing else would tell of it.
  for (const name of ['faults-inline', 'faults-pool']) {
    it(`while its socket is full is closed, ${name}`, async () => {
      const server = await setup.start({
        app: app(name),
        listen: { path: join(folder, 'socket') },
        reactors: 1,
        pool: 1,
      })
      const client = await Client.connect(server.target())
      const full = setup.faults.inject({ call: 'send', error: 'EAGAIN' })
      client.write('never comes back\n')
      await server.until(() => full.happened > 0)
      const before = full.happened
      client.destroy()
      await server.until(() => full.happened > before)
      full.stop()
      const { stats } = await server.until((report) => report.stats.connections.open === 0)
      expect(stats.connections.closed.reset).to.equal(1)
      const { destroyed } = await server.close()
      expect(destroyed).to.equal(0)
    })
  }

  it('by a reset is closed while nobody reads it', async () => {
    const server = await setup.start({ app: app('paused'), listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool: 0 })
    const client = await Client.connect(server.target())
    client.write('last\n')
    await client.lines(1)
    client.socket.resetAndDestroy()
    const { stats } = await server.until((report) => report.stats.connections.open === 0)
    expect(stats.connections.closed.reset).to.equal(1)
    await server.close()
  })
})
