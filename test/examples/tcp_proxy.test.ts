import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { Example } from '../support/example.js'
import { startTool, stopTool, tool } from '../support/tool.js'

/** An HTTP server that says its name, and keeps the first bytes of each connection. */
class Upstream {
  readonly name: string
  readonly heads: string[] = []
  readonly server: http.Server
  readonly #sockets = new Set<net.Socket>()

  constructor(name: string, onSocket: (socket: net.Socket) => void = () => {}) {
    this.name = name
    this.server = http.createServer((req, res) => {
      if (req.url === '/large') return void req.pipe(res)
      res.end(`${name}\n`)
    })
    this.server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      onSocket(socket)
    })
  }
  async listen(port = 0): Promise<this> {
    this.server.listen(port, '127.0.0.1')
    await once(this.server, 'listening')
    return this
  }
  get port(): number {
    return (this.server.address() as net.AddressInfo).port
  }
  get address(): string {
    return `127.0.0.1:${this.port}`
  }
  async close(): Promise<void> {
    const closed = once(this.server, 'close')
    this.server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}

const curl = async (port: number, ...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await tool('curl', ['-sS', '--max-time', '20', ...args, `http://127.0.0.1:${port}/`])
  if (code !== 0) throw new Error(`curl: ${stderr}`)
  return stdout
}

describe('the example tcp-proxy', function () {
  this.timeout(120_000)
  const cleanUp: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    await Example.killAll()
    for (const clean of cleanUp.splice(0)) await clean()
  })

  async function upstreams(...names: string[]): Promise<Upstream[]> {
    const all = await Promise.all(names.map((name) => new Upstream(name).listen()))
    cleanUp.push(...all.map((upstream) => () => upstream.close()))
    return all
  }
  async function proxy(environment: Record<string, string>): Promise<{ example: Example; port: number }> {
    Example.environment = environment
    const example = new Example('tcp-proxy')
    const [port] = await example.ports()
    return { example, port: port! }
  }

  it('sends curl round all upstreams, and large bodies both ways', async () => {
    const all = await upstreams('a', 'b', 'c')
    const { example, port } = await proxy({ UPSTREAMS: all.map(({ address }) => address).join(), REACTORS: '1' })
    const answers: string[] = []
    for (let i = 0; i < 6; i++) answers.push((await curl(port)).trim())
    expect(answers).to.deep.equal(['a', 'b', 'c', 'a', 'b', 'c'])

    const body = 'x'.repeat(5_000_000)
    const { code, stdout } = await tool(
      'curl',
      ['-sS', '--max-time', '30', '--data-binary', '@-', `http://127.0.0.1:${port}/large`],
      body,
    )
    expect([code, stdout === body]).to.deep.equal([0, true])
    expect(await example.stop()).to.equal(0)
    expect(example.errors).to.equal('')
  })

  it('gives each to the one that has fewest', async () => {
    const all = await upstreams('a', 'b')
    const { example, port } = await proxy({
      UPSTREAMS: all.map(({ address }) => address).join(),
      REACTORS: '1',
      CHOICE: 'least-connections',
      // No check in between, whose connection counts, too.
      CHECK_MS: '1000000',
    })
    const ask = async (): Promise<Client> => {
      const client = await Client.connect(port)
      client.write('GET / HTTP/1.1\r\nHost: proxy\r\n\r\n')
      await client.until(({ received }) => /\n\r\n[ab]\n/.test(received.toString()) || /[ab]\n\r\n0/.test(received.toString()))
      return client
    }
    const nameOf = (client: Client): string => /\b([ab])\n/.exec(client.received.toString())![1]!
    const first = await ask()
    const second = await ask()
    expect(new Set([nameOf(first), nameOf(second)])).to.deep.equal(new Set(['a', 'b']))
    // Two of one side go: the next two come there.
    const third = await ask()
    const kept = [first, second, third].filter((client) => nameOf(client) !== nameOf(third))
    for (const gone of [first, second, third].filter((client) => nameOf(client) === nameOf(third))) {
      gone.socket.end()
      await gone.untilClosed()
    }
    expect(nameOf(await ask())).to.equal(nameOf(third))
    expect(kept).to.have.length(1)
    expect(await example.stop()).to.equal(0)
  })

  it('finds out who is down, tries the next, and takes it back', async () => {
    const [a, b] = await upstreams('a', 'b')
    const { port: lost } = a!
    const { example, port } = await proxy({ UPSTREAMS: `${a!.address},${b!.address}`, REACTORS: '1', CHECK_MS: '50' })
    expect((await curl(port)).trim()).to.equal('a')
    await a!.close()
    cleanUp.shift()
    for (let i = 0; i < 4; i++) expect((await curl(port)).trim()).to.equal('b')
    await example.until((output) => output.includes(`127.0.0.1:${lost} is down: ECONNREFUSED`))
    const again = await new Upstream('a').listen(lost)
    cleanUp.push(() => again.close())
    await example.until((output) => output.includes(`127.0.0.1:${lost} is up`))
    const answers = new Set([(await curl(port)).trim(), (await curl(port)).trim()])
    expect(answers).to.deep.equal(new Set(['a', 'b']))

    // No upstream is left: the client is closed, and not kept waiting.
    await again.close()
    await b!.close()
    cleanUp.splice(0)
    const { code } = await tool('curl', ['-sS', '--max-time', '20', `http://127.0.0.1:${port}/`])
    expect(code).to.be.oneOf([52, 56]) // empty reply, or reset
    expect(await example.stop()).to.equal(0)
  })

  for (const version of ['1', '2']) {
    it(`takes the client's address from a PROXY header and passes it on as version ${version}`, async () => {
      // The next proxy in the chain reads it: curl → this → tcp-proxy → tcp-proxy → http.
      const [web] = await upstreams('web')
      const inner = await proxy({ UPSTREAMS: web!.address, REACTORS: '1', PROXY_FROM: '127.0.0.1', SEND_PROXY: '1' })
      let head = ''
      const tap = net.createServer((socket) => {
        socket.once('data', (data) => {
          head = data.toString('latin1')
          const on = net.connect(inner.port, '127.0.0.1')
          on.write(data)
          socket.pipe(on).pipe(socket)
          on.on('error', () => socket.destroy())
          socket.on('error', () => on.destroy())
        })
      })
      tap.listen(0, '127.0.0.1')
      await once(tap, 'listening')
      cleanUp.push(async () => {
        tap.close()
        await once(tap, 'close')
      })
      const { port: tapPort } = tap.address() as net.AddressInfo
      const outer = await proxy({
        UPSTREAMS: `127.0.0.1:${tapPort}`,
        REACTORS: '1',
        PROXY_FROM: '127.0.0.0/8',
        SEND_PROXY: version,
        CHECK_MS: '1000000',
      })
      // The web server gets the inner proxy's header: a line of version 1 in front of the request, which is no HTTP.
      web!.server.removeAllListeners('clientError')
      const seen = new Promise<string>((resolve) => {
        web!.server.once('clientError', (error: Error & { rawPacket?: Buffer }, socket) => {
          resolve(error.rawPacket!.toString())
          // The request itself may follow on its own: it is not read, and a server that waits for its end would never close.
          socket.end('HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n', () => socket.destroy())
        })
      })
      const answer = await curl(outer.port, '--haproxy-protocol', '--haproxy-clientip', '203.0.113.9').catch(async () => {
        // Before curl 8.2 there is no --haproxy-clientip; the header then has the loopback's addresses.
        return curl(outer.port, '--haproxy-protocol')
      })
      expect(answer).to.equal('ok\n')
      const line = await seen
      expect(line).to.match(/^PROXY TCP4 (203\.0\.113\.9|127\.0\.0\.1) 127\.0\.0\.1 \d+ \d+\r\n/)
      if (version === '1') expect(head).to.match(/^PROXY TCP4 /)
      else expect(head.startsWith('\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c')).to.equal(true)
      expect(await outer.example.stop()).to.equal(0)
      expect(await inner.example.stop()).to.equal(0)
    })
  }

  it('says everything that is wrong with its settings, and does not start', async () => {
    Example.environment = {
      UPSTREAMS: '127.0.0.1:80, host name:80,nowhere,::1:80,a:0',
      SEND_PROXY: 'yes',
      CHOICE: 'best',
      ATTEMPTS: '0',
    }
    const example = new Example('tcp-proxy')
    expect(await example.exit()).to.equal(2)
    const forms = 'host:port, [address]:port or /path, with commas between'
    expect(example.errors.trimEnd().split('\n')).to.deep.equal([
      ...['host name:80', 'nowhere', '::1:80', 'a:0'].map((name) => `UPSTREAMS must be ${forms}, and has '${name}'`),
      "SEND_PROXY must be 0, 1, 2, and is 'yes'",
      "CHOICE must be round-robin, least-connections, and is 'best'",
      "ATTEMPTS must be a whole number from 1 to 1000, and is '0'",
    ])
    expect(example.output).to.equal('')
  })

  it('takes spaces between upstreams, empty variables, and 0 for no PROXY header', async () => {
    const all = await upstreams('a', 'b')
    const { example, port } = await proxy({
      UPSTREAMS: ` ${all.map(({ address }) => address).join(' , ')} `,
      REACTORS: '1',
      SEND_PROXY: '0',
      CHOICE: '',
      PROXY_FROM: '',
    })
    expect([await curl(port), await curl(port)]).to.deep.equal(['a\n', 'b\n'])
    expect(await example.stop()).to.equal(0)
  })

  it('says which upstream is full, and that a client was closed for it, not for each client', async () => {
    const [web] = await upstreams('web')
    const { example, port } = await proxy({ UPSTREAMS: web!.address, REACTORS: '1', PER_UPSTREAM: '1', CHECK_MS: '1000000' })
    const kept = await Client.connect(port)
    kept.write('GET / HTTP/1.1\r\nHost: proxy\r\n\r\n')
    await kept.until(({ received }) => received.toString().includes('web'))
    for (let i = 0; i < 5; i++) await (await Client.connect(port)).untilClosed()
    kept.destroy()
    expect(await example.stop()).to.equal(0)
    expect(example.output.match(/is full: 1 connections of this reactor/g)).to.have.length(1)
    expect(example.output.match(/a client was closed: no upstream could be reached, or all are full/g)).to.have.length(1)
  })

  it('limits the connections of one address', async () => {
    const [web] = await upstreams('web')
    const { example, port } = await proxy({ UPSTREAMS: web!.address, CONNECTIONS_PER_ADDRESS: '2' })
    const kept = [await Client.connect(port), await Client.connect(port)]
    for (const client of kept) {
      client.write('GET / HTTP/1.1\r\nHost: proxy\r\n\r\n')
      await client.until(({ received }) => received.toString().includes('web'))
    }
    const third = await Client.connect(port)
    await third.untilClosed()
    for (const client of kept) client.destroy()
    expect(await example.stop()).to.equal(0)
  })

  describe('in front of redis-server', () => {
    let folder: string
    let redis: ChildProcess
    let redisPort: number

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'multireactor-redis-'))
      const probe = net.createServer().listen(0, '127.0.0.1')
      await once(probe, 'listening')
      redisPort = (probe.address() as net.AddressInfo).port
      probe.close()
      await once(probe, 'close')
      const args = ['--port', String(redisPort), '--bind', '127.0.0.1', '--save', '', '--dir', folder]
      redis = await startTool(
        'redis-server',
        [...args, '--unixsocket', join(folder, 'redis.sock')],
        /Ready to accept connections/,
      )
    })
    after(async () => {
      if (redis) await stopTool(redis)
      rmSync(folder, { recursive: true })
    })

    const cli = async (port: number, ...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await tool('redis-cli', ['-h', '127.0.0.1', '-p', String(port), ...args])
      expect(code, stderr).to.equal(0)
      return stdout.trim()
    }

    it('redis-cli and redis-benchmark work through it, over TCP and a Unix socket, and a reload', async () => {
      const { example, port } = await proxy({ UPSTREAMS: `127.0.0.1:${redisPort},${join(folder, 'redis.sock')}` })
      expect(await cli(port, 'SET', 'word', 'hello')).to.equal('OK')
      expect(await cli(port, 'GET', 'word')).to.equal('hello')
      expect(await cli(port, 'STRLEN', 'word')).to.equal('5')
      const bench = await tool('redis-benchmark', [
        '-p',
        String(port),
        '-t',
        'get,set',
        '-n',
        '4000',
        '-c',
        '20',
        '-P',
        '16',
        '-q',
      ])
      expect(bench.code, bench.stderr).to.equal(0)
      expect(bench.stdout)
        .to.match(/SET: .*requests per second/)
        .and.match(/GET: .*requests per second/)

      // A subscriber stays through a reload: no JavaScript has a part in its connection.
      const subscriber = await Client.connect(port)
      subscriber.write('SUBSCRIBE news\r\n')
      await subscriber.until(({ received }) => received.toString().includes('subscribe'))
      example.signal('SIGHUP')
      await example.until((output) => output.includes('reloaded'))
      expect(await cli(port, 'PUBLISH', 'news', 'it stays')).to.equal('1')
      await subscriber.until(({ received }) => received.toString().includes('it stays'))
      subscriber.destroy()
      expect(await example.stop()).to.equal(0)
      expect(example.errors).to.equal('')
    })
  })
})
