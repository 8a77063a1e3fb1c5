import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { type Server, serve } from '@multireactor/core'
import { closedAs } from '../support/closed.js'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const core = import.meta.resolve('@multireactor/core')

describe('server.reload()', () => {
  let server: Server
  let folder: string
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
    // Beside the tests, so that the app finds its packages.
    folder = mkdtempSync(join(fileURLToPath(new URL('.', import.meta.url)), 'reload-'))
  })
  afterEach(async () => {
    await server.close({ timeoutMs: 500 })
    // Not before: a close hook of the app writes there until the end.
    rmSync(folder, { recursive: true })
    expectNothingLeft(before)
  })

  function write(body: string): string {
    const file = join(folder, 'app.mjs')
    writeFileSync(file, `import { defineApp, lines } from '${core}'\nexport default defineApp({ framing: lines(), ${body} })\n`)
    return file
  }

  for (const role of ['worker', 'reactor']) {
    it(`replaces a new ${role} that ends before it is put to work, and no client notices`, async () => {
      const file = write('')
      const doomed = join(folder, 'doomed')
      writeFileSync(
        file,
        `import { existsSync, rmSync } from 'node:fs'
import { defineApp, lines } from '${core}'
export default defineApp({
  framing: lines(),
  parse: (frame) => frame + '\\n',
  start({ role }) {
    if (role !== '${role}' || !existsSync('${doomed}')) return
    rmSync('${doomed}', { force: true })
    setImmediate(() => process.exit(9))
  },
})
`,
      )
      const silent = { debug() {}, info() {}, warn() {}, error() {} }
      server = await serve({ app: file, listen: 0, reactors: 1, pool: 1, logger: silent })
      const replaced = once(server as never, `${role}Replaced`)
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('before\n')
      await client.lines(1)
      writeFileSync(doomed, '')
      await server.reload()
      await replaced
      client.write('after\n')
      expect(await client.lines(2)).to.deep.equal(['before', 'after'])
      client.destroy()
    })
  }

  it('changes the code of the pool under load, and no client notices', async () => {
    const version = (n: number) => write(`parse: (frame) => '${n} ' + frame + '\\n'`)
    server = await serve({ app: version(1), listen: 0, reactors: 2, pool: 2 })
    const clients = await Promise.all(Array.from({ length: 8 }, () => Client.connect(server.listeners[0]!.port)))
    let going = true
    // One in flight each: every reply is awaited, so a lost one stops its client for ever.
    const talk = clients.map(async (client) => {
      let sent = 0
      for (; going || sent === 0; sent++) {
        client.write(`${sent}\n`)
        await client.lines(sent + 1)
      }
      return sent
    })
    for (let n = 2; n <= 5; n++) {
      version(n)
      await server.reload()
    }
    going = false
    const counts = await Promise.all(talk)
    for (const [i, client] of clients.entries()) {
      const replies = client.received
        .toString()
        .trimEnd()
        .split('\n')
        .map((line) => line.split(' ').map(Number))
      expect(replies.map(([, sent]) => sent)).to.deep.equal(Array.from({ length: counts[i]! }, (_, n) => n))
      client.write('last\n')
      expect((await client.lines(counts[i]! + 1)).at(-1)).to.equal('5 last')
      client.destroy()
    }
    expect(server.stats().connections.closed['thread-lost']).to.equal(0)
  })

  it('carries the data of connections: a clone, or what suspend returned', async () => {
    write(`open: () => ({ seen: 1, when: new Date(0) }),
      message(conn, line) { conn.write([line, conn.data.seen++, conn.data.when.getTime()].join(' ') + '\\n') }`)
    server = await serve({ app: join(folder, 'app.mjs'), listen: 0, reactors: 1, pool: 0 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('a\n')
    await client.lines(1)
    await server.reload()
    client.write('b\n')
    expect(await client.lines(2)).to.deep.equal(['a 1 0', 'b 2 0'])

    write(`message(conn, line) { conn.write('new ' + line + conn.data.seen + '\\n') },
      suspend: (conn) => 'packed ' + conn.data.seen,
      restore: (conn, state) => ({ ...state, f: () => 1 })`)
    await server.reload()
    client.write('c\n')
    expect((await client.lines(3))[2]).to.equal('new c3')
    write(`message(conn, line) { conn.write(line + ' ' + conn.data + '\\n') }`)
    await server.reload()
    client.write('d\n')
    expect((await client.lines(4))[3]).to.equal('d packed 3')
    client.destroy()
  })

  it('rejects before it begins when data cannot be cloned, and the old code goes on', async () => {
    write(`open: () => ({ f: () => 1 }), message(conn, line) { conn.write(line + '\\n') }`)
    server = await serve({ app: join(folder, 'app.mjs'), listen: 0, reactors: 1, pool: 0 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('a\n')
    await client.lines(1)
    const error = await server.reload().then(
      () => undefined,
      (reason: Error) => reason,
    )
    expect(error).to.have.property('code', 'ERR_MR_STATE')
    client.write('b\n')
    expect(await client.lines(2)).to.deep.equal(['a', 'b'])
    client.destroy()
  })

  it('rejects with the reason when the new module does not load, and the old code goes on', async () => {
    write(`parse: (frame) => 'old ' + frame + '\\n'`)
    server = await serve({ app: join(folder, 'app.mjs'), listen: 0, reactors: 1, pool: 1 })
    const client = await Client.connect(server.listeners[0]!.port)
    for (const body of ['parse: 1', 'start() { throw new Error("no") }, parse() {}', '}}}']) {
      write(body)
      const error = await server.reload().then(
        () => undefined,
        (reason: Error) => reason,
      )
      expect(error).to.be.an('error')
    }
    client.write('a\n')
    expect(await client.lines(1)).to.deep.equal(['old a'])
    client.destroy()
  })

  it('never has more than one older generation of threads, however many reloads are asked for at once', async () => {
    const reactors = 2
    server = await serve({ app: app('stays'), listen: 0, reactors, pool: 0 })
    const { port } = server.listeners[0]!
    let going = true
    // There is always a client that the thread would have to wait for.
    const stay = async (): Promise<void> => {
      while (going) {
        const client = await Client.connect(port)
        client.write('x')
        await client.untilClosed()
      }
    }
    const staying = Promise.all([stay(), stay(), stay()])
    const threads = (): number => census().threads
    const one = threads()
    let most = 0
    const look = setInterval(() => {
      most = Math.max(most, threads())
    }, 5)
    await Promise.all(Array.from({ length: 5 }, () => server.reload({ timeoutMs: 100 })))
    clearInterval(look)
    going = false
    // One of V8's helpers may come or go.
    expect(most).to.be.within(one + 1, one + reactors + 1)
    expect(threads()).to.be.at.most(one + 1)
    await server.close({ timeoutMs: 0 })
    await staying
    server = await serve({ app: app('stays'), listen: 0, reactors: 1, pool: 0 })
  })

  it('waits for what hooks still await, and closes as thread-lost what takes too long', async () => {
    write(`async message(conn, line) {
      const reply = conn.defer()
      await new Promise((resolve) => setTimeout(resolve, Number(line)))
      reply.end('slept ' + line + '\\n')
    }`)
    server = await serve({ app: join(folder, 'app.mjs'), listen: 0, reactors: 1, pool: 0 })
    const quick = await Client.connect(server.listeners[0]!.port)
    const slow = await Client.connect(server.listeners[0]!.port)
    const idle = await Client.connect(server.listeners[0]!.port)
    idle.write('1\n')
    await idle.lines(1)
    quick.write('100\n')
    slow.write('1000000\n')
    while (server.stats().reactors[0]!.framesRead < 3) await new Promise((resolve) => setImmediate(resolve))
    await server.reload({ timeoutMs: 1_000 })
    expect(await quick.lines(1)).to.deep.equal(['slept 100'])
    await slow.untilClosed()
    expect(await closedAs(server, 'thread-lost', 1)).to.equal(1)
    idle.write('2\n')
    expect(await idle.lines(2)).to.deep.equal(['slept 1', 'slept 2'])
    quick.destroy()
    idle.destroy()
  })

  for (const timeoutMs of [0, 1_000]) {
    it(`calls close in the old thread for what does not go along, with ${timeoutMs} ms to wait`, async () => {
      const log = join(folder, 'log')
      writeFileSync(log, '')
      process.env['LEAVING_LOG'] = log
      const silent = { debug() {}, info() {}, warn() {}, error() {} }
      server = await serve({ app: app('leaving'), listen: 0, reactors: 1, pool: 0, logger: silent })
      server.on('error', () => {})
      const clients: Client[] = []
      // A victim that has been asked already, and one that has not.
      for (const word of [
        'slow',
        'victim',
        'killer',
        'victim',
        'self',
        'throws',
        'framer',
        ...(timeoutMs === 0 ? ['pending'] : []),
      ]) {
        const client = await Client.connect(server.listeners[0]!.port)
        client.write(`${word}\n`)
        await client.lines(1)
        clients.push(client)
      }
      await server.reload({ timeoutMs })
      delete process.env['LEAVING_LOG']
      const read = () => readFileSync(log, 'latin1').trimEnd().split('\n')
      // The next thread calls restore in its first turns.
      while (read().filter((line) => line.startsWith('restore ')).length < 2)
        await new Promise((resolve) => setImmediate(resolve))
      const told = read()
      const closed = ['victim destroyed', 'victim destroyed', 'self destroyed', 'throws thread-lost', 'framer thread-lost']
      expect(told.filter((line) => line.startsWith('close ')).sort()).to.deep.equal(
        [...closed, ...(timeoutMs === 0 ? ['pending thread-lost'] : [])].map((line) => `close ${line}`).sort(),
      )
      expect(told.filter((line) => line.startsWith('restore ')).sort()).to.deep.equal(['restore killer', 'restore slow'])
      expect(told.filter((line) => line.startsWith('suspend ')).sort()).to.deep.equal(
        ['killer', 'self', 'slow', 'throws', 'victim'].map((word) => `suspend ${word}`),
      )
      for (const client of clients) client.destroy()
    })
  }
})
