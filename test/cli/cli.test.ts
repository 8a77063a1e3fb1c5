import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { ask } from '../support/ask.js'

const root = new URL('../../../', import.meta.url)
const bin = fileURLToPath(new URL('packages/multireactor/bin/multireactor.js', root))
const fixture = (name: string) => fileURLToPath(new URL(`test/fixtures/${name}`, root))

interface Run {
  child: ChildProcess
  /** Resolves to the first line of stdout that matches. */
  line(pattern: RegExp): Promise<RegExpExecArray>
  ended: Promise<{ code: number | null; out: string; err: string }>
}

const running = new Set<ChildProcess>()

const run = (...args: string[]): Run => runWith({}, ...args)

function runWith(variables: Record<string, string>, ...args: string[]): Run {
  const { PORT: _port, HOST: _host, ...inherited } = process.env
  const env = { ...inherited, ...variables }
  const child = spawn(process.execPath, [bin, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env })
  running.add(child)
  const lines: string[] = []
  const waiting = new Set<() => void>()
  let err = ''
  createInterface({ input: child.stdout }).on('line', (text) => {
    lines.push(text)
    for (const look of waiting) look()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  const ended = once(child, 'close').then(([code]) => {
    running.delete(child)
    return { code: code as number | null, out: lines.join('\n'), err }
  })
  const line = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const found = lines.map((text) => pattern.exec(text)).find((match) => match !== null)
        if (!found) return
        waiting.delete(look)
        resolve(found)
      }
      waiting.add(look)
      look()
      ended.then(({ code, out }) => reject(new Error(`ended with ${code} before ${pattern}: ${out}${err}`)))
    })
  return { child, line, ended }
}

describe('the command', () => {
  afterEach(() => {
    for (const child of running) child.kill('SIGKILL')
  })

  it('serves TLS from files, reads them again on SIGHUP, and refuses what does not fit', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mr-tls-'))
    const pem = (name: string) => fileURLToPath(new URL(`test/existing/certificates/${name}.pem`, root))
    const use = (name: string) => {
      copyFileSync(pem(name), join(folder, 'cert.pem'))
      copyFileSync(pem(`${name}-key`), join(folder, 'key.pem'))
    }
    const subject = async (port: number): Promise<unknown> => {
      const socket = connectTls({ port, host: '127.0.0.1', ca: readFileSync(pem('ca')), servername: 'localhost' })
      await once(socket, 'secureConnect')
      const { CN } = socket.getPeerCertificate().subject
      socket.destroy()
      return CN
    }
    use('first')
    const files = ['--tls-cert', join(folder, 'cert.pem'), '--tls-key', join(folder, 'key.pem')]
    const server = run('serve', fixture('cli-echo.js'), '--port', '0', '--host', '127.0.0.1', '--reactors', '1', ...files)
    const port = Number((await server.line(/:(\d+) with/))[1])
    expect(await subject(port)).to.equal('first.example')
    use('second')
    server.child.kill('SIGHUP')
    await server.line(/^reloaded$/)
    expect(await subject(port)).to.equal('second.example')
    server.child.kill('SIGTERM')
    expect((await server.ended).code).to.equal(0)
    const half = await run('serve', fixture('cli-echo.js'), '--port', '0', ...files.slice(0, 2)).ended
    expect(half).to.deep.include({ code: 2 })
    expect(half.err).to.include('--tls-cert and --tls-key go together')
    copyFileSync(pem('first-key'), join(folder, 'key.pem'))
    const misfit = await run('serve', fixture('cli-echo.js'), '--port', '0', ...files).ended
    expect(misfit).to.deep.include({ code: 2 })
    expect(misfit.err).to.include('[ERR_MR_TLS]')
    rmSync(folder, { recursive: true })
  })

  it('reloads when it has started, if SIGHUP comes before', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mr-loading-'))
    const loaded = join(folder, 'loaded')
    const options = ['--port', '0', '--host', '127.0.0.1', '--reactors', '1']
    const server = runWith({ LOADED: loaded }, 'serve', fixture('cli-loading.js'), ...options)
    await server.line(/^loading$/)
    server.child.kill('SIGHUP')
    writeFileSync(loaded, '')
    const port = Number((await server.line(/:(\d+) with/))[1])
    await server.line(/^reloaded$/)
    expect(await ask(port, 'hello')).to.equal('hello')
    server.child.kill('SIGTERM')
    expect((await server.ended).code).to.equal(0)
    rmSync(folder, { recursive: true })
  })

  it('reloads once more for all signals that come while it reloads', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mr-loading-'))
    const loaded = join(folder, 'loaded')
    writeFileSync(loaded, '')
    const options = ['--port', '0', '--host', '127.0.0.1', '--reactors', '1', '--reload-timeout', '1000']
    const server = runWith({ LOADED: loaded }, 'serve', fixture('cli-loading.js'), ...options)
    await server.line(/^listening/)
    rmSync(loaded)
    server.child.kill('SIGHUP')
    await server.line(/^loading 2$/)
    for (let i = 0; i < 5; i++) server.child.kill('SIGHUP')
    writeFileSync(loaded, '')
    await server.line(/^reloaded$/)
    await server.line(/^loading 3$/)
    server.child.kill('SIGTERM')
    expect((await server.ended).out).to.not.include('loading 4')
    rmSync(folder, { recursive: true })
  })

  it('blames $PORT for what stands there, and takes an empty one for none', async () => {
    const wrong = await runWith({ PORT: 'abc' }, 'serve', fixture('cli-echo.js')).ended
    expect(wrong).to.deep.include({ code: 2 })
    expect(wrong.err).to.include("$PORT must be a whole number, and is 'abc'")
    const empty = await runWith({ PORT: '', HOST: '' }, 'serve', fixture('cli-echo.js'), '--reactors', '0').ended
    expect(empty.err).to.include("'reactors' must be").and.not.include('PORT')
  })

  it('says what ended a thread, with the place', async () => {
    const server = run('serve', fixture('cli-dies.js'), '--port', '0', '--host', '127.0.0.1', '--reactors', '1', '--pool', '1')
    const port = Number((await server.line(/:(\d+) with/))[1])
    expect(await ask(port, 'die\n')).to.equal('')
    while (!(await ask(port, 'live\n')).includes('live'));
    server.child.kill('SIGTERM')
    const { err } = await server.ended
    expect(err).to.match(
      /pool worker 0 ended \(exit\) and was replaced; 1 frame lost: Error: the handle is gone\n\s+at .*cli-dies\.js/,
    )
  })

  it('prints its help and exits with 0', async () => {
    for (const flag of ['--help', '-h']) {
      const { code, out, err } = await run(flag).ended
      expect(code).to.equal(0)
      expect(err).to.equal('')
      expect(out).to.include('Usage: multireactor serve APP [options]')
      for (const option of [
        '--port',
        '--host',
        '--path',
        '--reactors',
        '--pool',
        '--task-timeout',
        '--hook-timeout',
        '--reload-timeout',
        '--close-timeout',
        '--version',
      ]) {
        expect(out).to.include(option)
      }
    }
  })

  it('prints help wherever it is asked for, with whatever stands before', async () => {
    for (const [args, usage] of [
      [['serve', '--help'], 'Usage: multireactor serve'],
      [['serve', 'no-such-app.js', '--prot', '1', '-h'], 'Usage: multireactor serve'],
      [['srve', '--help'], 'Usage: multireactor serve'],
      [['--port', '--help'], 'Usage: multireactor serve'],
      [['send', '--help'], 'Usage: multireactor send'],
      [['send', 'nowhere', '--cuont', '-h'], 'Usage: multireactor send'],
      [['--help', 'send'], 'Usage: multireactor send'],
    ] as const) {
      const { code, out, err } = await run(...args).ended
      expect(out).to.include(usage)
      expect([code, err]).to.deep.equal([0, ''])
    }
    // Behind -- it is a message, or a file.
    const { code } = await run('send', '127.0.0.1:1', '--', '--help').ended
    expect(code).to.equal(1)
  })

  it('prints its version and exits with 0', async () => {
    const { version } = JSON.parse(readFileSync(new URL('packages/multireactor/package.json', root), 'utf8')) as {
      version: string
    }
    expect(await run('--version').ended).to.deep.equal({ code: 0, out: version, err: '' })
    expect(await run('-v').ended).to.deep.equal({ code: 0, out: version, err: '' })
  })

  for (const [what, args, message] of [
    ['no command', [], 'no command given'],
    ['an unknown command', ['srve', 'app.js'], "unknown command 'srve', did you mean 'serve'?"],
    ['an unknown option', ['serve', 'app.js', '--prot', '1'], "unknown option '--prot', did you mean '--port'?"],
    ['an unknown short option', ['serve', 'app.js', '-x'], "unknown option '-x'"],
    ['an option without its value', ['serve', 'app.js', '--port'], '--port'],
    ['no app', ['serve'], 'serve needs an app module'],
    ['two apps', ['serve', 'a.js', 'b.js'], "'b.js'"],
    ['a missing app', ['serve', 'no-such-app.js'], 'there is no app module at'],
    [
      'a port that is no number',
      ['serve', fixture('cli-echo.js'), '--port', 'http'],
      "--port must be a whole number, and is 'http'",
    ],
    ['a port out of range', ['serve', fixture('cli-echo.js'), '--port', '65536'], 'from 0 to 65535'],
    ['a negative port', ['serve', fixture('cli-echo.js'), '--port=-1'], "--port must be a whole number, and is '-1'"],
    ['no reactors', ['serve', fixture('cli-echo.js'), '--port', '0', '--reactors', '0'], 'from 1 to 1024'],
    ['a hook time that is too short', ['serve', fixture('cli-echo.js'), '--port', '0', '--hook-timeout', '5'], 'from 100 to'],
    [
      'a time that no timer has',
      ['serve', fixture('cli-echo.js'), '--port', '0', '--reload-timeout', '2147483648'],
      '--reload-timeout',
    ],
    ['a time that is none', ['serve', fixture('cli-echo.js'), '--port', '0', '--close-timeout', 'soon'], '--close-timeout'],
  ] as const) {
    it(`refuses ${what} with exit code 2 and one sentence`, async () => {
      const { code, out, err } = await run(...args).ended
      expect(err).to.include(message)
      expect(err).to.not.match(/^\s+at /m)
      expect(out).to.equal('')
      expect(code).to.equal(2)
    })
  }

  it('exits with 1 when the server cannot start', async () => {
    const first = run('serve', fixture('cli-echo.js'), '--host', '127.0.0.1', '--port', '0', '--reactors', '1')
    const port = (await first.line(/^listening on 127\.0\.0\.1:(\d+)/))[1]!
    const second = await run('serve', fixture('cli-echo.js'), '--host', '127.0.0.1', '--port', port, '--reactors', '1').ended
    expect(second.code).to.equal(1)
    expect(second.err).to.include('EADDRINUSE')
    first.child.kill('SIGTERM')
    expect((await first.ended).code).to.equal(0)
  })

  it('exits with 1 when the app throws while it loads, and shows where', async () => {
    const { code, err } = await run('serve', fixture('bad-throws-on-load.js'), '--port', '0', '--reactors', '1').ended
    expect(code).to.equal(1)
    expect(err)
      .to.include('[ERR_MR_APP_LOAD]')
      .and.include('no database today')
      .and.match(/at .*bad-throws-on-load\.js:1/)
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`serves a .js app until ${signal} and exits with 0`, async () => {
      const { child, line, ended } = run('serve', fixture('cli-echo.js'), '--host', '127.0.0.1', '--port', '0', '--reactors', '2')
      const [, port, reactors] = await line(/^listening on 127\.0\.0\.1:(\d+) with (\d+) reactors$/)
      expect(reactors).to.equal('2')
      expect(await ask(Number(port), 'hello')).to.equal('hello')
      child.kill(signal)
      const { code, out, err } = await ended
      expect(err).to.equal('')
      expect(out).to.include('closed: 0 answered, 0 destroyed')
      expect(code).to.equal(0)
    })

    it(`answers what is in flight on ${signal} before it exits with 0`, async () => {
      const args = ['--host', '127.0.0.1', '--port', '0', '--reactors', '1', '--pool', '1']
      const { child, line, ended } = run('serve', fixture('cli-slow.js'), ...args)
      const [, port] = await line(/^listening on 127\.0\.0\.1:(\d+) with 1 reactor$/)
      const answer = ask(Number(port), 'one\n')
      await line(/^started$/)
      child.kill(signal)
      expect(await answer).to.equal('one answered\n')
      const { code, out } = await ended
      expect(out).to.include('closed: 1 answered, 0 destroyed')
      expect(code).to.equal(0)
    })
  }

  it('serves a .ts app with a pool, on several ports', async () => {
    const args = ['--host', '127.0.0.1', '-p', '0', '-p', '0', '--reactors', '1', '--pool', '1']
    const { child, line, ended } = run('serve', fixture('cli-upper.ts'), ...args)
    const [, port] = await line(/^listening on 127\.0\.0\.1:(\d+)/)
    expect(await ask(Number(port), 'one\ntwo\n')).to.equal('ONE\nTWO\n')
    child.kill('SIGTERM')
    const { code, out } = await ended
    expect(out.match(/^listening on /gm)).to.have.length(2)
    expect(code).to.equal(0)
  })
})
