import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import mqtt from 'mqtt'
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

  it('mqtt tells subscribers on every reactor what a publisher on one of them says', async () => {
    const { command, port } = await serve('mqtt', 2)
    const url = `mqtt://127.0.0.1:${port}`
    // So many that both reactors have some.
    const subscribers = await Promise.all(Array.from({ length: 10 }, () => mqtt.connectAsync(url)))
    const heard = subscribers.map(
      (client) =>
        new Promise<string>((resolve) => client.on('message', (topic, payload) => resolve(`${topic} ${payload.toString()}`))),
    )
    await Promise.all(subscribers.map((client) => client.subscribeAsync('rooms/+', { qos: 1 })))
    await run('mosquitto_pub', ['-h', '127.0.0.1', '-p', String(port), '-t', 'rooms/kitchen', '-m', 'warm', '-q', '1', '-r'])
    expect(new Set(await Promise.all(heard))).to.deep.equal(new Set(['rooms/kitchen warm']))
    // Those that come later, to whichever reactor, get the retained one.
    const late = Array.from({ length: 6 }, () =>
      run('mosquitto_sub', ['-h', '127.0.0.1', '-p', String(port), '-t', 'rooms/#', '-v', '-C', '1', '-W', '30']),
    )
    for (const { stdout } of await Promise.all(late)) expect(stdout).to.equal('rooms/kitchen warm\n')
    await Promise.all(subscribers.map((client) => client.endAsync()))
    command.child.kill('SIGTERM')
    expect(await command.ended).to.deep.include({ code: 0, err: '' })
  })
})
