import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { Command } from '../support/command.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const page = (name: string): string => readFileSync(join(root, `docs/${name}.md`), 'utf8')
const blocks = (name: string, language: string): string[] =>
  [...page(name).matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map((match) => match[1]!)

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** The instructions with their arguments; a list in brackets is one. */
function instructions(dockerfile: string): [string, string][] {
  return dockerfile
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => [line.split(' ', 1)[0]!, line.slice(line.indexOf(' ') + 1)])
}

describe('docs/deployment.md', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'mr-deployment-'))
    // The files that the Dockerfile copies.
    mkdirSync(join(folder, 'node_modules/.bin'), { recursive: true })
    symlinkSync(join(root, 'packages/multireactor/bin/multireactor.js'), join(folder, 'node_modules/.bin/multireactor'))
    cpSync(join(root, 'test/fixtures/cli-echo.js'), join(folder, 'app.js'))
    symlinkSync(join(root, 'node_modules/@multireactor'), join(folder, 'node_modules/@multireactor'))
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  })
  after(() => rmSync(folder, { recursive: true }))
  afterEach(() => Command.killAll())

  it('has a Dockerfile whose command serves, is healthy, and ends in order on SIGTERM', async () => {
    const [dockerfile] = blocks('deployment', 'dockerfile')
    const all = instructions(dockerfile!)
    const known = ['FROM', 'WORKDIR', 'COPY', 'RUN', 'ENV', 'USER', 'EXPOSE', 'HEALTHCHECK', 'CMD']
    expect(all.map(([name]) => name).filter((name) => !known.includes(name))).to.deep.equal([])
    const of = (name: string): string => all.filter((one) => one[0] === name).at(-1)![1]
    const admin = await freePort()
    const command = JSON.parse(of('CMD')) as string[]
    const check = (JSON.parse(of('HEALTHCHECK').replace(/^.*? CMD /, '')) as string[]).map((text) =>
      text.replace('9090', `${admin}`),
    )
    const args = command.map((text) => text.replace(/^7000$/, '0').replace(/^9090$/, `${admin}`))
    const isHealthy = () => spawnSync(process.execPath, check.slice(1)).status === 0
    expect([check[0], isHealthy()]).to.deep.equal(['node', false])
    const server = new Command('/usr/bin/env', ['-C', folder, `PATH=${join(process.execPath, '..')}:/usr/bin:/bin`, ...args])
    await server.line(/^listening on/)
    // No process stands between the one that was started and the server.
    expect(Number((await server.line(/, pid (\d+)$/))[1])).to.equal(server.pid)
    while (!isHealthy());
    server.child.kill('SIGTERM')
    expect(await server.ended).to.deep.include({ code: 0, err: '' })
    // The stop timeouts are longer than the close timeout.
    expect(Number(command[command.indexOf('--close-timeout') + 1])).to.be.below(10_000)
    expect(of('EXPOSE')).to.equal(command[command.indexOf('--port') + 1])
  })

  it('has units that systemd takes', function () {
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) this.skip()
    for (const name of ['deployment', 'hot-restart']) {
      const units = blocks(name, 'ini').map((text) => {
        const file = /^# \/etc\/systemd\/system\/(\S+)\n/.exec(text)![1]!
        const path = join(folder, file)
        // It looks whether the program and the user are there.
        writeFileSync(path, text.replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`).replace(/^User=.*$/m, 'User=root'))
        return path
      })
      const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...units], { encoding: 'utf8' })
      expect(stderr.split('\n').filter((line) => line.includes(folder))).to.deep.equal([])
      expect(status, stderr).to.equal(0)
    }
  })

  it('says what the exit codes are', () => {
    const codes = page('deployment').split('\n## Exit codes\n')[1]!.split('\n## ')[0]!
    expect([...codes.matchAll(/^\| (\d) \|/gm)].map(([, code]) => code)).to.deep.equal(['0', '1', '2'])
  })
})
