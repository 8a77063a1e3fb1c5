import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer, type Server as NetServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { Command } from '../support/command.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const restart = fileURLToPath(app('restart'))

/** Which process answers there. */
async function whoAnswers(target: number | string): Promise<number> {
  const client = await Client.connect(target)
  client.write('who\n')
  const [line] = await client.lines(1)
  client.destroy()
  return Number(line!.split(' ')[0])
}

/** Clients that connect, ask once, and leave, until they are stopped. */
function load(target: number | string, count: number) {
  let going = true
  const answers = new Map<number, number>()
  const failures: string[] = []
  const waiting = new Set<() => void>()
  const talk = async () => {
    while (going) {
      try {
        const pid = await whoAnswers(target)
        answers.set(pid, (answers.get(pid) ?? 0) + 1)
      } catch (error) {
        failures.push((error as Error).message)
      }
      for (const look of waiting) look()
    }
  }
  const all = Promise.all(Array.from({ length: count }, talk))
  return {
    failures,
    /** Resolves when that process has answered so many of them. */
    answered: (pid: number, least: number) =>
      new Promise<void>((resolve) => {
        const look = () => {
          if ((answers.get(pid) ?? 0) < least) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
      }),
    stop: async () => {
      going = false
      await all
    },
  }
}

/** A request that is answered when the test opens its gate. */
class Waiting {
  readonly client: Client
  readonly #gate: NetServer
  #held: Socket | undefined

  private constructor(client: Client, gate: NetServer) {
    this.client = client
    this.#gate = gate
  }

  static async at(target: number): Promise<Waiting> {
    const gate = createServer().listen(0, '127.0.0.1')
    await once(gate, 'listening')
    const waiting = new Waiting(await Client.connect(target), gate)
    const connected = once(gate, 'connection')
    waiting.client.write(`wait ${(gate.address() as AddressInfo).port}\n`)
    ;[waiting.#held] = (await connected) as [Socket]
    return waiting
  }

  open(): void {
    this.#held?.destroy()
    this.#gate.close()
  }
}

describe('a hot restart', function () {
  this.timeout(120_000)
  let folder: string
  let control: string
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
    folder = mkdtempSync(join(tmpdir(), 'restart-'))
    control = join(folder, 'control')
  })
  afterEach(async () => {
    await Command.killAll()
    rmSync(folder, { recursive: true })
    expectNothingLeft(before)
  })

  const serve = (fixture: string, reactors: number, ...more: string[]) =>
    Command.serve(fixture, '--control', control, '--reactors', String(reactors), '--pool', '1', ...more)
  const portOf = async (command: Command) => Number((await command.line(/^listening on .*:(\d+) with/))[1])
  const stop = async (command: Command) => {
    command.child.kill('SIGTERM')
    const { code, err } = await command.ended
    expect(err).to.equal('')
    expect(code).to.equal(0)
  }

  it('loses no request and resets nobody, five times in a row under load', async () => {
    const path = join(folder, 'app.sock')
    const where = ['--port', '0', '--path', path]
    let current = serve(restart, 2, ...where)
    const port = await portOf(current)
    expect(statSync(control).mode & 0o777).to.equal(0o600)
    const loads = [load(port, 6), load(path, 2)]
    for (const reactors of [2, 1, 3, 2, 2]) {
      await Promise.all(loads.map(({ answered }) => answered(current.pid, 20)))
      const waiting = await Waiting.at(port)
      const next = serve(restart, reactors, ...where)
      expect(await portOf(next)).to.equal(port)
      await Promise.all(loads.map(({ answered }) => answered(next.pid, 20)))
      // Still with the old process, which answers completely before it says goodbye.
      expect(waiting.client.received).to.have.length(0)
      waiting.open()
      await waiting.client.untilClosed()
      expect(waiting.client.received.toString()).to.equal(`${current.pid} waited\n`)
      expect([waiting.client.ended, waiting.client.error]).to.deep.equal([true, undefined])
      const { code, out, err } = await current.ended
      expect(err).to.equal('')
      expect(out).to.match(/^handed over: 1 answered, 0 destroyed$/m)
      expect(code).to.equal(0)
      expect([existsSync(path), existsSync(control)]).to.deep.equal([true, true])
      current = next
    }
    await Promise.all(loads.map(({ stop }) => stop()))
    expect(loads.flatMap(({ failures }) => failures)).to.deep.equal([])
    await stop(current)
    expect([existsSync(path), existsSync(control)]).to.deep.equal([false, false])
  })

  it('that fails before the new process accepts changes nothing', async () => {
    const path = join(folder, 'app.sock')
    const where = ['--port', '0', '--path', path]
    const old = serve(restart, 2, ...where)
    const port = await portOf(old)
    const clients = load(port, 4)
    for (const [fixture, code] of [
      ['restart-killed', null],
      ['restart-refuses', 1],
    ] as const) {
      await clients.answered(old.pid, 10)
      const failed = serve(fileURLToPath(app(fixture)), 3, ...where)
      expect((await failed.ended).code).to.equal(code)
      await old.complaint(/a successor ended before it accepted/)
      expect(await whoAnswers(port)).to.equal(old.pid)
      expect(await whoAnswers(path)).to.equal(old.pid)
    }
    const next = serve(restart, 2, ...where)
    expect(await portOf(next)).to.equal(port)
    await clients.answered(next.pid, 10)
    expect((await old.ended).code).to.equal(0)
    await clients.stop()
    expect(clients.failures).to.deep.equal([])
    await stop(next)
    expect([existsSync(path), existsSync(control)]).to.deep.equal([false, false])
  })

  it('matches by address: other listeners open and close', async () => {
    const [kept, gone, fresh] = [join(folder, 'kept'), join(folder, 'gone'), join(folder, 'fresh')]
    const old = serve(restart, 1, '--path', gone, '--path', kept)
    await old.line(/^listening on .*kept/)
    const next = serve(restart, 1, '--path', kept, '--path', fresh)
    await next.line(/^listening on .*fresh/)
    expect((await old.ended).code).to.equal(0)
    expect(await whoAnswers(kept)).to.equal(next.pid)
    expect(await whoAnswers(fresh)).to.equal(next.pid)
    await stop(next)
    expect([kept, fresh].map((path) => existsSync(path))).to.deep.equal([false, false])
  })

  it('lets the connection that was accepted and has not asked yet ask', async () => {
    const old = serve(restart, 1, '--port', '0')
    const port = await portOf(old)
    const silent = await Client.connect(port)
    const half = await Client.connect(port)
    half.write('first\nsec')
    expect(await half.lines(1)).to.deep.equal([`${old.pid} first`])
    const next = serve(restart, 1, '--port', '0')
    await portOf(next)
    silent.write('who\n')
    half.write('ond\n')
    await Promise.all([silent.untilClosed(), half.untilClosed()])
    expect(silent.received.toString()).to.equal(`${old.pid} who\n`)
    expect(half.received.toString()).to.equal(`${old.pid} first\n${old.pid} second\n`)
    expect((await old.ended).code).to.equal(0)
    await stop(next)
  })

  it('goes on when the old process ends while the new one starts', async () => {
    const path = join(folder, 'app.sock')
    const old = serve(restart, 2, '--port', '0', '--path', path)
    const port = await portOf(old)
    const gate = createServer().listen(0, '127.0.0.1')
    await once(gate, 'listening')
    const connected = once(gate, 'connection')
    process.env['GATE'] = String((gate.address() as AddressInfo).port)
    const next = serve(fileURLToPath(app('restart-late')), 1, '--port', '0', '--path', path)
    delete process.env['GATE']
    const [held] = (await connected) as [Socket]
    await stop(old)
    // The kernel completes these, and no process accepts them yet.
    const early = await Promise.all([Client.connect(port), Client.connect(port), Client.connect(path)])
    for (const client of early) client.write('who\n')
    held.destroy()
    gate.close()
    for (const client of early) {
      expect(await client.lines(1)).to.deep.equal([`${next.pid} who`])
      client.destroy()
    }
    expect(await portOf(next)).to.equal(port)
    await stop(next)
    expect([existsSync(path), existsSync(control)]).to.deep.equal([false, false])
  })

  it('refuses a control path where somebody else answers', async () => {
    const other = createServer((socket) =>
      socket
        .on('error', () => {})
        .resume()
        .end('220 mail.example ESMTP ready\r\n'),
    )
    other.listen(control)
    await once(other, 'listening')
    const { code, err } = await serve(restart, 1, '--port', '0').ended
    expect(code).to.equal(1)
    expect(err).to.match(/is not a multireactor server\. .* \[ERR_MR_CONTROL\]/)
    other.close()
    await once(other, 'close')
  })
})

describe('a server on sockets that somebody else opened', function () {
  this.timeout(120_000)
  let opened: NetServer
  let port: number
  let fd: number
  let before: ReturnType<typeof census>
  beforeEach(async () => {
    before = census()
    opened = createServer().listen(0, '127.0.0.1')
    await once(opened, 'listening')
    port = (opened.address() as AddressInfo).port
    fd = (opened as unknown as { _handle: { fd: number } })._handle.fd
  })
  afterEach(async () => {
    if (opened.listening) await once(opened.close(), 'close')
    await Command.killAll()
    expectNothingLeft(before)
  })

  const script = fileURLToPath(new URL('../fixtures/listen-on.js', import.meta.url))
  const stop = async (command: Command) => {
    command.child.kill('SIGTERM')
    const { code, err } = await command.ended
    expect(err).to.equal('')
    expect(code).to.equal(0)
  }
  const listenersOf = async (command: Command) => JSON.parse((await command.line(/^\[/)).input) as unknown
  const answers = async (command: Command) => {
    // Only one process accepts there from now on.
    opened.close()
    await once(opened, 'close')
    for (let i = 0; i < 8; i++) expect(await whoAnswers(port)).to.equal(command.pid)
  }

  it('accepts there, with one descriptor for several reactors', async () => {
    const command = new Command(process.execPath, [script, '2', '{"fd":3}'], { fds: [fd] })
    expect(await listenersOf(command)).to.deep.equal([{ name: String(port), address: '127.0.0.1', port, reactors: 1 }])
    await answers(command)
    await stop(command)
  })

  it('accepts there, with one descriptor for each reactor', async () => {
    const command = new Command(process.execPath, [script, '2', '{"fd":[3,4],"name":"given"}'], { fds: [fd, fd] })
    expect(await listenersOf(command)).to.deep.equal([{ name: 'given', address: '127.0.0.1', port, reactors: 2 }])
    await answers(command)
    await stop(command)
  })

  it('does not unlink a Unix path that it was given', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'given-'))
    const path = join(folder, 'app.sock')
    const unix = createServer().listen(path)
    await once(unix, 'listening')
    const unixFd = (unix as unknown as { _handle: { fd: number } })._handle.fd
    const command = new Command(process.execPath, [script, '1', '{"fd":3}'], { fds: [unixFd] })
    expect(await listenersOf(command)).to.deep.equal([{ name: path, address: path, port: 0, reactors: 1 }])
    await stop(command)
    expect(existsSync(path)).to.equal(true)
    unix.close()
    await once(unix, 'close')
    rmSync(folder, { recursive: true })
  })

  // LISTEN_PID must be the process itself: the shell replaces itself with node.
  const activated = (listen: string, env: NodeJS.ProcessEnv, fds: number[]) =>
    new Command('sh', ['-c', 'LISTEN_PID=$$ exec "$0" "$@"', process.execPath, script, '1', listen], { env, fds })

  it('takes the sockets of systemd, all of them or by name', async () => {
    const all = activated('{"systemd":true}', { LISTEN_FDS: '1' }, [fd])
    expect(await listenersOf(all)).to.deep.equal([{ name: String(port), address: '127.0.0.1', port, reactors: 1 }])
    await stop(all)
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const otherFd = (other as unknown as { _handle: { fd: number } })._handle.fd
    const env = { LISTEN_FDS: '2', LISTEN_FDNAMES: 'admin:app' }
    const named = activated('[{"systemd":"app"}]', env, [otherFd, fd])
    expect(await listenersOf(named)).to.deep.equal([{ name: 'app', address: '127.0.0.1', port, reactors: 1 }])
    await answers(named)
    await stop(named)
    other.close()
    await once(other, 'close')
  })

  it('says what is missing when systemd passed nothing', async () => {
    const refusalOf = async (command: Command) => (await command.ended).err
    expect(await refusalOf(new Command(process.execPath, [script, '1', '{"systemd":true}']))).to.match(
      /LISTEN_FDS and LISTEN_PID are not set[\s\S]*ERR_MR_SOCKET_ACTIVATION/,
    )
    const stray = { env: { LISTEN_FDS: '1', LISTEN_PID: '1' }, fds: [fd] }
    expect(await refusalOf(new Command(process.execPath, [script, '1', '{"systemd":true}'], stray))).to.include(
      'LISTEN_PID is 1, and this is process',
    )
    expect(await refusalOf(activated('{"systemd":"app"}', { LISTEN_FDS: '1', LISTEN_FDNAMES: 'admin' }, [fd]))).to.include(
      "there is no socket with FileDescriptorName=app: LISTEN_FDNAMES is 'admin'",
    )
    expect(await refusalOf(activated('[{"systemd":true},{"systemd":true}]', { LISTEN_FDS: '1' }, [fd]))).to.include(
      'descriptor 3 serves another listener',
    )
  })
})
