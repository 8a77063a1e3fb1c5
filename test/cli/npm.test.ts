import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { ask } from '../support/ask.js'
import { Command } from '../support/command.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const bin = join(root, 'packages/multireactor/bin/multireactor.js')
const slow = join(root, 'test/fixtures/cli-slow.js')
const where = '--host 127.0.0.1 --port 0 --reactors 1 --pool 1'

describe('a server under npm', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'mr-npm-'))
    const serve = `"${process.execPath}" "${bin}" serve "${slow}" ${where}`
    const scripts = {
      start: serve,
      both: `${serve} && echo "and then"`,
      outer: 'npm run both',
      daemon: `setsid ${serve} & wait`,
      // The shell between them leads a session, as the daemon of a process manager does, and stays.
      managed: `setsid sh -c '${serve.replaceAll("'", '')}; echo managed' & wait`,
      // No shell stands between npm and the server, as where sh is bash.
      direct: `exec ${serve}`,
    }
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'under-npm', version: '1.0.0', private: true, scripts }))
  })
  after(() => rmSync(folder, { recursive: true }))
  const left = new Set<number>()
  afterEach(async () => {
    await Command.killAll()
    for (const pid of left) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended, as it should.
      }
    }
    left.clear()
  })

  const npm = (...args: string[]): Command => {
    // Not those of the npm that runs this test.
    const env = Object.fromEntries(Object.keys(process.env).flatMap((name) => (/^npm_/i.test(name) ? [[name, undefined]] : [])))
    return new Command(args[0]!, args.slice(1), { env: { ...env, npm_config_update_notifier: 'false' } })
  }
  const started = async (command: Command): Promise<{ port: number; pid: number }> => {
    const port = Number((await command.line(/^listening on .*:(\d+) with/))[1])
    const pid = Number((await command.line(/, pid (\d+)$/))[1])
    left.add(pid)
    return { port, pid }
  }

  for (const [what, args, signal] of [
    ['npm start is ended', ['npm', '--prefix', 'FOLDER', 'start'], 'SIGTERM'],
    ['npm start is killed', ['npm', '--prefix', 'FOLDER', 'start'], 'SIGKILL'],
    ['npm run is killed, and its shell has more to do', ['npm', '--prefix', 'FOLDER', 'run', 'both'], 'SIGKILL'],
    ['an npm that runs an npm is killed', ['npm', '--prefix', 'FOLDER', 'run', 'outer'], 'SIGKILL'],
    ['npx is ended', ['npx', '--offline', '--prefix', root, 'multireactor', 'serve', slow, ...where.split(' ')], 'SIGTERM'],
  ] as const) {
    it(`answers what is in flight and closes when ${what}`, async () => {
      const command = npm(...args.map((arg) => (arg === 'FOLDER' ? folder : arg)))
      const { port } = await started(command)
      const answer = ask(port, 'one\n')
      await command.line(/^started$/)
      command.child.kill(signal)
      expect(await answer).to.equal('one answered\n')
      // The server holds the pipe of npm's output, so this is when it has ended, too.
      const { out } = await command.ended
      expect(out).to.match(/the npm that ran this process has ended: closing\nclosed: [01] answered, 0 destroyed$/m)
    })
  }

  it('finishes closing when npm ends meanwhile, as Ctrl-C makes it', async () => {
    const command = npm('npm', '--prefix', folder, 'start')
    const { port, pid } = await started(command)
    // For longer than two looks at the parent.
    const answer = ask(port, '900\n')
    await command.line(/^started$/)
    process.kill(pid, 'SIGTERM')
    command.child.kill('SIGTERM')
    expect(await answer).to.equal('900 answered\n')
    expect((await command.ended).out).to.match(/\nclosed: 1 answered, 0 destroyed$/)
  })

  it('answers what is in flight when npm repeats the signal of the terminal', async () => {
    const command = npm('npm', '--prefix', folder, 'run', 'direct')
    const { port, pid } = await started(command)
    const answer = ask(port, '900\n')
    await command.line(/^started$/)
    // To both, as Ctrl-C does, and npm passes its own on. Two of one kind that wait together would be one: this is another.
    process.kill(pid, 'SIGINT')
    process.kill(pid, 'SIGTERM')
    command.child.kill('SIGINT')
    expect(await answer).to.equal('900 answered\n')
    expect((await command.ended).out).to.match(/\nclosed: 1 answered, 0 destroyed$/)
  })

  for (const [what, script] of [
    ['as a daemon in a session of its own', 'daemon'],
    ['under a daemon in a session of its own', 'managed'],
  ] as const) {
    it(`goes on ${what}`, async () => {
      const command = npm('npm', '--prefix', folder, 'run', script)
      const { port, pid } = await started(command)
      command.child.kill('SIGKILL')
      // Each answer takes 150 ms: together they last for longer than two looks at the parent.
      for (let i = 0; i < 5; i++) expect(await ask(port, 'one\n')).to.equal('one answered\n')
      process.kill(pid, 'SIGTERM')
      expect((await command.ended).out).to.match(/closed: 0 answered, 0 destroyed(\nmanaged)?$/)
    })
  }
})
