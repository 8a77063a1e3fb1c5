import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { Command } from '../support/command.js'

const run = promisify(execFile)
const folder = (name: string) => fileURLToPath(new URL(`../../../examples/${name}`, import.meta.url))

async function serve(name: string, reactors: number): Promise<{ command: Command; port: number }> {
  const command = Command.serve(`${folder(name)}/app.ts`, '--port', '0', '--host', '127.0.0.1', '--reactors', String(reactors))
  const [, port] = await command.line(/listening on .*:(\d+) with/)
  return { command, port: Number(port) }
}

describe('the examples with existing servers', function () {
  // They start processes of their own, which other tests' threads may keep waiting.
  this.timeout(120_000)
  afterEach(() => Command.killAll())

  it('fastify-on-reactors passes its own tests, answers curl and wrk, and closes in order', async () => {
    const tests = run(process.execPath, ['--import', 'tsx', '--test', 'service.test.ts'], { cwd: folder('fastify-on-reactors') })
    const { command, port } = await serve('fastify-on-reactors', 1)
    const url = `http://127.0.0.1:${port}`
    const made = await run('curl', ['-sS', '-d', '{"text":"milk"}', '-H', 'content-type: application/json', `${url}/notes`])
    expect(JSON.parse(made.stdout)).to.deep.equal({ id: 1, text: 'milk' })
    expect(JSON.parse((await run('curl', ['-sS', url])).stdout)).to.deep.equal({ hello: '127.0.0.1' })
    const { stdout } = await run('wrk', ['-t', '1', '-c', '16', '-d', '1', url])
    expect(stdout)
      .to.match(/Requests\/sec: +[1-9]/)
      .and.not.include('Socket errors')
      .and.not.include('Non-2xx')
    await tests
    command.child.kill('SIGTERM')
    expect(await command.ended).to.deep.include({ code: 0, err: '' })
  })
})
