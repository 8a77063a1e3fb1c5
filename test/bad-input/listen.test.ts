import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ServeAddress, serve } from '@multireactor/core'
import { lines, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { failureOf, fixture } from '../fixtures/bad-failure.js'

const on = (listen: ServeAddress | number, reactors = 1) => serve({ app: fixture('bad-echo.js'), listen, reactors, pool: 0 })

describe('a wrong address', () => {
  it('whose port another server has fails with EADDRINUSE and what a net error carries', async () => {
    await using first = await on({ port: 0, host: '127.0.0.1' }, 2)
    const { port } = first.listeners[0]!
    const error = await failureOf(() => on({ port, host: '127.0.0.1' }, 2))
    expect(error).to.include({ code: 'EADDRINUSE', syscall: 'listen', address: '127.0.0.1', port })
    expect(error.message).to.include(`127.0.0.1:${port}`).and.include('shared: true')
  })

  it('whose port a net server has fails alike, shared or not', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as { port: number }
    expect((await failureOf(() => on({ port, host: '127.0.0.1' }))).code).to.equal('EADDRINUSE')
    expect((await failureOf(() => on({ port, host: '127.0.0.1', shared: true }))).code).to.equal('EADDRINUSE')
    other.close()
  })

  it('that is shared on purpose is none', async () => {
    await using first = await on({ port: 0, host: '127.0.0.1', shared: true })
    const { port } = first.listeners[0]!
    await using second = await on({ port, host: '127.0.0.1', shared: true })
    expect(second.listeners[0]!.port).to.equal(port)
  })

  it('of a reactor whose options are refused is free for the next one', async () => {
    await using reactor = new Reactor()
    const probe = new Reactor()
    const host = '127.0.0.1'
    const { port } = await probe.listen({ port: 0, host }, { message() {} })
    await probe.close()
    const refused = { message() {}, outBuffer: { high: -1 } }
    expect((await failureOf(() => reactor.listen({ port, host }, refused))).code).to.equal('ERR_MR_OPTION_RANGE')
    const native = { kind: 99 } as never
    await failureOf(() => reactor.listen({ port, host }, { message() {}, framing: { ...lines(), native } }))
    expect((await reactor.listen({ port, host }, { message() {} })).port).to.equal(port)
  })

  it('given twice to one server fails the start as a whole, and frees the port', async () => {
    let port = 0
    {
      await using probe = await on({ port: 0, host: '127.0.0.1' })
      port = probe.listeners[0]!.port
    }
    const address = { port, host: '127.0.0.1' }
    const error = await failureOf(() =>
      serve({
        app: fixture('bad-echo.js'),
        listen: [
          { ...address, name: 'a' },
          { ...address, name: 'b' },
        ],
        reactors: 2,
        pool: 0,
      }),
    )
    expect(error).to.include({ code: 'EADDRINUSE', syscall: 'listen', address: '127.0.0.1', port })
    expect(error.message).to.include(`127.0.0.1:${port}: 'listen' of serve() names it twice: drop one of them`)
    const covered = await failureOf(() =>
      serve({ app: fixture('bad-echo.js'), listen: [{ port, host: '0.0.0.0' }, address], reactors: 1, pool: 0 }),
    )
    expect(covered.message).to.include(
      `127.0.0.1:${port}: 'listen' of serve() names it twice (the other time as 0.0.0.0:${port})`,
    )
    await using again = await on(address)
    expect(again.listeners[0]!.port).to.equal(port)
  })

  /** The output of a program in a network of its own, with two ports as the default. No other process takes a port there. */
  const alone = (program: string): unknown => {
    const shell = `echo "40000 40001" > /proc/sys/net/ipv4/ip_local_port_range && exec "$0" --input-type=module -e "$1"`
    const text = `
      const { Reactor } = await import('${import.meta.resolve('@multireactor/reactor')}')
      const net = await import('node:net')
      const host = '0.0.0.0'
      const listen = (port) => new Promise((resolve, reject) => {
        const server = net.createServer().on('error', reject).listen(port, host, () => resolve(server))
      })
      ${program}`
    const { stdout, stderr } = spawnSync('unshare', ['-rn', 'sh', '-c', shell, process.execPath, text], { encoding: 'utf8' })
    expect(stderr).to.equal('')
    return JSON.parse(stdout)
  }

  it('with port 0, when no port is left, fails as with net, says so and does not blame another server', () => {
    const messages = alone(`
      const reactors = [1, 2, 3].map(() => new Reactor())
      const messages = []
      for (const one of reactors) await one.listen({ port: 0, host }, { message() {} }).catch((e) => messages.push(e.message))
      await listen(0).catch(({ code }) => messages.push(code))
      for (const one of reactors) await one.close()
      console.log(JSON.stringify(messages))`) as string[]
    expect(messages).to.have.length(2)
    expect(messages[0]).to.match(/^listen EADDRINUSE 0\.0\.0\.0:0: no port of net\.ipv4\.ip_local_port_range is free/)
    expect(messages[1]).to.equal('EADDRINUSE')
  })

  it('of a server that has closed is free for any other one at once', () => {
    const ports = alone(`
      const ports = []
      for (let i = 0; i < 20; i++) {
        const reactor = new Reactor()
        ports.push((await reactor.listen({ port: 5000, host }, { message() {} })).port)
        await reactor.close()
        if (i % 2 === 0) continue
        const server = await listen(5000)
        await new Promise((resolve) => server.close(resolve))
      }
      console.log(JSON.stringify(ports))`)
    expect(ports).to.deep.equal(Array(20).fill(5000))
  })

  it('with a port out of range is refused with the range', async () => {
    for (const port of [-1, 65_536, 1.5, Number.NaN]) {
      for (const listen of [port, { port }]) {
        const error = await failureOf(() => on(listen))
        expect(error.code).to.equal('ERR_MR_OPTION_RANGE')
        expect(error.message).to.include(`'port' must be a whole number from 0 to 65535, and is ${port}`)
      }
    }
  })

  it('that no interface has fails with EADDRNOTAVAIL', async () => {
    expect((await failureOf(() => on({ port: 0, host: '192.0.2.1' }))).code).to.equal('EADDRNOTAVAIL')
  })

  it('whose host has no address is refused', async () => {
    const error = await failureOf(() => on({ port: 0, host: 'no-such-host.invalid' }))
    expect(error.code).to.equal('ERR_MR_OPTION_RANGE')
    expect(error.cause).to.be.instanceOf(Error)
  })

  it('whose descriptor cannot be listened on is refused with the reason', async () => {
    const one = createServer().listen(0, '127.0.0.1')
    const other = createServer().listen(0, '127.0.0.1')
    const file = openSync('/dev/null', 'r')
    await Promise.all([once(one, 'listening'), once(other, 'listening')])
    const client = connect((one.address() as AddressInfo).port, '127.0.0.1')
    await once(client, 'connect')
    const datagrams = createSocket('udp4').bind(0, '127.0.0.1')
    await once(datagrams, 'listening')
    const fdOf = (holder: unknown) => (holder as { _handle: { fd: number } })._handle.fd
    const udpFd = (datagrams as unknown as { [key: symbol]: { handle: { fd: number } } })[
      Object.getOwnPropertySymbols(datagrams).find((symbol) => String(symbol) === 'Symbol(state symbol)')!
    ]!.handle.fd
    const wrong: [number | number[], RegExp][] = [
      [9_999, /descriptor 9999: it is not open: the parent process must pass it on/],
      [file, /it is not a socket/],
      [udpFd, /it is a datagram socket/],
      [fdOf(client), /it is a stream socket that does not listen/],
      [[fdOf(one), fdOf(other)], new RegExp(`descriptor ${fdOf(other)}: it listens on another address than the first one`)],
    ]
    for (const [fd, message] of wrong) {
      const error = await failureOf(() => on({ fd }))
      expect(error.code).to.equal('ERR_MR_LISTEN_FD')
      expect(error.message).to.match(message)
    }
    expect((await failureOf(() => on({ fd: [file, file] }))).code).to.equal('ERR_MR_OPTION_RANGE')
    // They are still their owner's.
    closeSync(file)
    client.destroy()
    datagrams.close()
    one.close()
    other.close()
    await Promise.all([once(one, 'close'), once(other, 'close')])
  })

  describe('of a Unix socket', () => {
    let folder: string
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'bad-input-'))
    })
    after(() => {
      chmodSync(folder, 0o700)
      rmSync(folder, { recursive: true })
    })

    it('that another server accepts on fails with EADDRINUSE', async () => {
      const path = join(folder, 'used')
      await using first = await on({ path })
      expect(first.listeners[0]).to.include({ address: path, port: 0 })
      const error = await failureOf(() => on({ path }))
      expect(error.code).to.equal('EADDRINUSE')
      expect(error.message).to.include('another server listens there: stop it, or choose another path')
    })

    it('that is a file, or is given twice, is said to be so', async () => {
      const path = join(folder, 'file')
      writeFileSync(path, 'kept')
      const error = await failureOf(() => on({ path }))
      expect(error).to.include({ code: 'EADDRINUSE', syscall: 'listen', address: path })
      expect(error.message).to.include('a file that is not a socket has that name: remove it, or choose another path')
      expect(readFileSync(path, 'utf8')).to.equal('kept')
      const twice = {
        app: fixture('bad-echo.js'),
        listen: [0, 1].map(() => ({ path: join(folder, 'twice') })),
        reactors: 1,
        pool: 0,
      }
      expect((await failureOf(() => serve(twice))).message).to.include("'listen' of serve() names it twice")
    })

    it('that is too long or in no folder fails with the reason', async () => {
      const long = await failureOf(() => on({ path: join(folder, 'x'.repeat(120)) }))
      expect(long.code).to.equal('ENAMETOOLONG')
      expect((await failureOf(() => on({ path: join(folder, 'none/socket') }))).code).to.equal('ENOENT')
    })

    it('in a folder of another user fails with EACCES', () => {
      const isRoot = process.getuid?.() === 0
      chmodSync(folder, isRoot ? 0o700 : 0o500)
      const { stdout, stderr } = spawnSync(process.execPath, [fixture('bad-permission.mjs').pathname, join(folder, 'denied')], {
        encoding: 'utf8',
        ...(isRoot ? { uid: 65_534, gid: 65_534 } : {}),
      })
      expect(stderr).to.equal('')
      expect(stdout).to.match(/^EACCES listen EACCES .*denied: permission denied/)
    })
  })
})
