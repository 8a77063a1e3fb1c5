import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { Faults } from '../support/faults.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { ServerProcess } from '../support/faulty_server.js'

describe('a peer that hangs up', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mr-'))
  let faults: Faults
  let server: ServerProcess | undefined
  before(function () {
    this.timeout(120_000) // the first time, a compiler runs
    Faults.build()
  })
  after(() => rmSync(folder, { recursive: true }))
  beforeEach(() => {
    faults = new Faults()
  })
  const atFirst = census()
  afterEach(async () => {
    await server?.kill()
    faults.close()
    expectNothingLeft(atFirst)
  })

  // Epoll repeats a hang-up for ever, so a connection that does not read leaves the set. One whose socket said EAGAIN just then must
  // not be forgotten: nothing else would tell of it.
  for (const name of ['faults-inline', 'faults-pool']) {
    it(`while its socket is full is closed, ${name}`, async () => {
      server = await ServerProcess.start(faults, {
        app: app(name),
        listen: { path: join(folder, 'socket') },
        reactors: 1,
        pool: 1,
      })
      const client = await Client.connect(server.target())
      const full = faults.inject({ call: 'send', error: 'EAGAIN' })
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
})
