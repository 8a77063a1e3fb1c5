import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { serve, type Server } from '@multireactor/core'
import { attach } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { readAll } from './sides.js'
import { closedAs } from '../support/closed.js'

/** One request on an agent; its response, or the code of its error. */
function get(port: number, path: string, agent?: http.Agent): Promise<{ body: string; connection: string | undefined }> {
  return new Promise((resolve, reject) => {
    http
      .get({ port, host: '127.0.0.1', path, agent: agent ?? false }, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (part) => {
          body += part
        })
        response.on('error', reject)
        response.on('end', () => resolve({ body, connection: response.headers.connection }))
      })
      .on('error', reject)
  })
}

describe('attach', function () {
  // Threads start slowly where others need the cores.
  this.timeout(120_000)
  let before: ReturnType<typeof census>
  let server: Server | undefined
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    if (server && (await server[Symbol.asyncDispose]()) === undefined) server = undefined
    expectNothingLeft(before)
  })
  const start = async (reactors: number): Promise<number> => {
    server = await serve({ app: app('existing-http'), listen: { port: 0, host: '127.0.0.1', name: 'web' }, reactors })
    return server.listeners[0]!.port
  }

  it('makes one server for each reactor, which knows where it listens', async () => {
    const port = await start(2)
    const threads = new Set<string>()
    for (let i = 0; i < 200 && threads.size < 2; i++) threads.add((await get(port, '/thread')).body)
    expect(threads.size).to.equal(2)
    expect(JSON.parse((await get(port, '/address')).body)).to.deep.equal({ address: '127.0.0.1', family: 'IPv4', port })
    expect(JSON.parse((await get(port, '/listeners')).body)).to.deep.equal([{ name: 'web', address: '127.0.0.1', port }])
  })

  it('a closing server finishes its answers, and ends idle connections at once', async () => {
    const port = await start(1)
    const agent = new http.Agent({ keepAlive: true })
    await get(port, '/thread', agent)
    const busy = net.connect(port, '127.0.0.1')
    busy.write('GET /300 HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(busy, 'readable')
    const closed = server!.close({ timeoutMs: 10_000 })
    expect(await readAll(busy)).to.include('second half')
    expect((await closed).destroyed).to.equal(0)
    agent.destroy()
  })

  it('a closing server cuts what does not end in time', async () => {
    const port = await start(1)
    const busy = net.connect(port, '127.0.0.1')
    busy.write('GET /half HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(busy, 'readable')
    expect((await server!.close({ timeoutMs: 100 })).destroyed).to.equal(1)
    expect(await readAll(busy)).to.match(/first half, \r\n/)
  })

  it('on a reload the old thread finishes its answers, and the new one serves fresh connections', async () => {
    const port = await start(1)
    const agent = new http.Agent({ keepAlive: true })
    const { body: old } = await get(port, '/thread', agent)
    const busy = get(port, '/400')
    // Its request has arrived when another one behind it has been answered.
    await get(port, '/thread')
    const reloaded = server!.reload({ timeoutMs: 10_000 })
    const during: Promise<{ body: string }>[] = []
    for (let i = 0; i < 5; i++) during.push(get(port, '/thread'))
    expect((await busy).body).to.equal(`${old} first half, second half`)
    await reloaded
    for (const { body } of await Promise.all(during)) expect(body).to.not.equal('')
    expect((await get(port, '/thread', agent)).body).to.not.equal(old)
    expect(server!.stats().connections.closed['thread-lost']).to.equal(0)
    agent.destroy()
  })

  it('on a reload what does not end in time is cut as thread-lost', async () => {
    const port = await start(1)
    const busy = net.connect(port, '127.0.0.1')
    busy.write('GET /half HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(busy, 'readable')
    await server!.reload({ timeoutMs: 100 })
    expect(await readAll(busy)).to.match(/first half, \r\n/)
    expect(await closedAs(server!, 'thread-lost', 1)).to.equal(1)
    expect((await get(port, '/thread')).body).to.not.equal('')
  })

  it('no request is lost while reactors come, go and get new code', async () => {
    const port = await start(2)
    let done = false
    let answered = 0
    const asking = Array.from({ length: 8 }, async () => {
      while (!done) {
        expect((await get(port, '/thread')).body).to.match(/^\d+$/)
        answered++
      }
    })
    await server!.reload()
    await server!.resize({ reactors: 3 })
    await server!.resize({ reactors: 1 })
    await server!.reload()
    done = true
    await Promise.all(asking)
    expect(answered).to.be.above(0)
    expect(server!.stats().connections.closed['thread-lost']).to.equal(0)
  })

  it('refuses what is no server, and a server that listens already', async () => {
    expect(() => attach({} as never))
      .to.throw()
      .with.property('code', 'ERR_MR_OPTION_TYPE')
    const listening = net.createServer().listen(0)
    await once(listening, 'listening')
    expect(() => attach(listening))
      .to.throw()
      .with.property('code', 'ERR_MR_STATE')
    listening.close()
    await once(listening, 'close')
  })
})
