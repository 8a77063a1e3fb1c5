import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { handleSignals, type Server } from '@multireactor/core'
import * as multireactor from 'multireactor'
import { expect } from 'chai'
import { ask } from '../support/ask.js'
import { Command } from '../support/command.js'

const program = fileURLToPath(new URL('../../fixtures/signals-main.mjs', import.meta.url))

describe('handleSignals, in a program that calls serve()', () => {
  let folder: string
  let loaded: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'mr-signals-'))
    loaded = join(folder, 'loaded')
  })
  beforeEach(() => {
    for (const file of [loaded, `${loaded}.times`]) rmSync(file, { force: true })
  })
  after(() => {
    rmSync(folder, { recursive: true })
  })
  afterEach(() => Command.killAll())

  const start = (app: string, env: NodeJS.ProcessEnv = {}): Command =>
    new Command(process.execPath, [program], { env: { APP: `./${app}`, LOADED: loaded, ...env } })
  const portOf = async (command: Command): Promise<number> => Number((await command.line(/listening on port (\d+)/))[1])

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`answers what is in flight on ${signal}, closes, and gives the signals back`, async () => {
      const command = start('cli-slow.js')
      const answer = ask(await portOf(command), 'one\n')
      await command.line(/^started$/)
      command.child.kill(signal)
      expect(await answer).to.equal('one answered\n')
      const { code, out, err } = await command.ended
      expect(out).to.match(/closed: 1 answered, 0 destroyed\nended with 0, 0 listeners left$/)
      expect([code, err]).to.deep.equal([0, ''])
    })
  }

  it('does not wait on a second signal', async () => {
    const command = start('cli-holds.js')
    const port = await portOf(command)
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.write('one\n')
    await command.line(/^started$/)
    command.child.kill('SIGTERM')
    // Two that wait together would be one.
    await command.line(/^asked to end$/)
    command.child.kill('SIGTERM')
    const { code, out } = await command.ended
    expect(code).to.equal(1)
    expect(out).to.not.include('ended with')
    socket.destroy()
  })

  it('reloads on SIGHUP, after beforeReload', async () => {
    writeFileSync(loaded, '')
    const command = start('cli-loading.js')
    const port = await portOf(command)
    command.child.kill('SIGHUP')
    await command.line(/^reloaded$/)
    expect(await ask(port, 'hello')).to.equal('hello')
    command.child.kill('SIGTERM')
    const { code, out } = await command.ended
    expect(out).to.match(/before the reload\n(loading \d\n)+reloaded\n/)
    expect(code).to.equal(0)
  })

  it('goes on with the old code when beforeReload refuses', async () => {
    writeFileSync(loaded, '')
    const command = start('cli-loading.js', { AFTER: 'refuse' })
    const port = await portOf(command)
    command.child.kill('SIGHUP')
    await command.complaint(/multireactor: reload failed, the old code goes on: not now/)
    expect(await ask(port, 'hello')).to.equal('hello')
    command.child.kill('SIGTERM')
    expect((await command.ended).code).to.equal(0)
  })

  it('remembers a SIGHUP that comes before the server has started', async () => {
    const command = start('cli-loading.js')
    await command.line(/^loading/)
    command.child.kill('SIGHUP')
    writeFileSync(loaded, '')
    await portOf(command)
    await command.line(/^reloaded$/)
    command.child.kill('SIGTERM')
    const { code, out } = await command.ended
    // The program's own SIGHUP listener runs once.
    expect(out.match(/asked to reload/g)).to.have.length(1)
    expect(code).to.equal(0)
  })

  it('gives the signals back when the program itself closes the server', async () => {
    const { code, out } = await start('cli-echo.js', { AFTER: 'close' }).ended
    expect(out).to.match(/\nended with 0, 0 listeners left$/)
    expect(code).to.equal(0)
  })

  it('goes on when its logger throws: what only reports ends nothing', async () => {
    const command = start('cli-echo.js', { AFTER: 'broken log' })
    await portOf(command)
    command.child.kill('SIGHUP')
    await command.complaint(/logger.info failed: .*no logger today/)
    command.child.kill('SIGTERM')
    const { code, out, err } = await command.ended
    expect(out).to.match(/\nended with 0, 0 listeners left$/)
    expect(err).to.include('multireactor: reloaded\n').and.include('multireactor: closed: ')
    expect(code).to.equal(0)
  })

  it('makes the exit code 1 when the server closes because of an error', async () => {
    const command = start('cli-mortal.js')
    await ask(await portOf(command), 'die')
    const { code, out, err } = await command.ended
    expect(existsSync(loaded)).to.equal(true)
    expect(err).to.include('no reactor is left, and the server closes')
    expect(out).to.match(/\nended with 1, 0 listeners left$/)
    expect(code).to.equal(1)
  })

  it('leaves the error of a start that fails to whoever awaits the server', async () => {
    const { code, out, err } = await start('bad-throws-on-load.js').ended
    expect(out).to.equal('ended with 1, 0 listeners left')
    expect(err).to.include('no database today')
    expect(code).to.equal(1)
  })

  it('is exported by multireactor, and refuses what is not a server or not an option', () => {
    expect(multireactor.handleSignals).to.equal(handleSignals)
    for (const none of [undefined, null, 7000, {}])
      expect(() => handleSignals(none as unknown as Server)).to.throw('must be a server, or the promise of serve()')
    const never = new Promise<Server>(() => {})
    for (const [options, message] of [
      [{ timeoutMs: 1 }, "unknown option 'timeoutMs'"],
      [{ closeTimeoutMs: -1 }, "'closeTimeoutMs' must be"],
      [{ reloadTimeoutMs: 2 ** 31 }, "'reloadTimeoutMs' must be"],
      [{ beforeReload: 'now' }, "'beforeReload' must be"],
      [{ logger: { info() {} } }, "'logger' must be an object with the functions info, error"],
    ] as const)
      expect(() => handleSignals(never, options as object)).to.throw(message)
  })
})
