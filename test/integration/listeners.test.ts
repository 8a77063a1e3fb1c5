import { mkdtempSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

/** The inodes of the sockets that listen on a port, as the kernel lists them. */
const listening = (port: number): string[] =>
  ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((row) => row.trim().split(/\s+/))
      .filter((row) => row[3] === '0A' && Number.parseInt(row[1]!.split(':')[1]!, 16) === port)
      .map((row) => row[9]!),
  )

describe('listeners', () => {
  const before = census()
  const folder = mkdtempSync(join(tmpdir(), 'mr-'))
  afterEach(() => expectNothingLeft(before))
  after(() => rmSync(folder, { recursive: true }))

  it('V3: one listening socket, one epoll set and one thread for each reactor', async () => {
    await using server = await serve({ app: app('int-who'), listen: 0, reactors: 2, pool: 0 })
    expect(new Set(listening(server.listeners[0]!.port))).to.have.property('size', 2)
    const now = census()
    // Every Node thread has an epoll set of libuv's own beside the reactor's.
    expect(now.epolls - before.epolls).to.equal(4)
    expect(now.threads - before.threads).to.be.within(2, 3)
    const names = readdirSync('/proc/self/task')
      .map((task) => readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim())
      .filter((name) => name.startsWith('mr-'))
    if (names.length > 0) expect(names.sort()).to.deep.equal(['mr-reactor-0', 'mr-reactor-1'])
  })

  it('V2: three ports and a Unix path, each with its own framing, one with its own app', async () => {
    const path = join(folder, 'v2')
    const host = '127.0.0.1'
    const listen = [
      { port: 0, host, name: 'lines' },
      { port: 0, host, name: 'length' },
      { port: 0, host, name: 'own', app: app('int-other') },
      { path, name: 'socket' },
    ]
    {
      await using server = await serve({ app: app('int-ports'), listen, reactors: 1, pool: 1 })
      const sent = ['a\n', '\x01b', 'c\n', 'd|']
      const replies = ['lines:a', 'length:b', 'other own C', 'socket:d']
      for (const [i, { port }] of server.listeners.entries()) {
        const client = await Client.connect(port || path)
        client.write(sent[i]!)
        expect(await client.lines(1)).to.deep.equal([replies[i]])
        client.destroy()
      }
    }
    expect(existsSync(path)).to.equal(false)
  })

  it('a Unix path spreads its connections over the reactors, refuses a living socket, replaces a stale one', async () => {
    const path = join(folder, 'spread')
    const settings = { app: app('int-who'), listen: { path }, reactors: 2, pool: 0 }
    {
      await using server = await serve(settings)
      const clients = await Promise.all(Array.from({ length: 8 }, () => Client.connect(path)))
      for (const client of clients) client.write('x\n')
      for (const client of clients) await client.lines(1)
      expect(server.stats().reactors.map(({ open }) => open)).to.deep.equal([4, 4])
      const refused = await serve(settings).then(
        () => undefined,
        (error: { code: string }) => error.code,
      )
      expect(refused).to.equal('EADDRINUSE')
      for (const client of clients) client.destroy()
    }
    expect(existsSync(path)).to.equal(false)
    const { spawnSync } = await import('node:child_process')
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ])
    expect(existsSync(path)).to.equal(true)
    await using server = await serve(settings)
    expect(server.listeners[0]!.address).to.equal(path)
    const client = await Client.connect(path)
    client.destroy()
  })

  for (const [what, address, reached, refused] of [
    ['an IPv4 host', { host: '127.0.0.1' }, ['127.0.0.1'], ['::1']],
    ["'::1'", { host: '::1' }, ['::1'], ['127.0.0.1']],
    ['no host', {}, ['127.0.0.1', '::1'], []],
    ['ipv6Only', { host: '::', ipv6Only: true }, ['::1'], ['127.0.0.1']],
  ] as const) {
    it(`${what}: is reached by ${reached.join(' and ')}${refused.length ? ` and not by ${refused.join()}` : ''}`, async () => {
      await using server = await serve({ app: app('int-who'), listen: { port: 0, ...address }, reactors: 2, pool: 0 })
      const reach = (host: string) =>
        new Promise<boolean>((resolve) => {
          const socket = net
            .connect(server.listeners[0]!.port, host, () => {
              socket.destroy()
              resolve(true)
            })
            .on('error', () => resolve(false))
        })
      for (const host of reached) expect(await reach(host), host).to.equal(true)
      for (const host of refused) expect(await reach(host), host).to.equal(false)
    })
  }
})
