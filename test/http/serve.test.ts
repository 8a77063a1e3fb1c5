import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect } from 'chai'
import autocannon from 'autocannon'
import { serve as serveCore } from '@multireactor/core'
import { type Server, serve } from 'multireactor'
import { Agent, request } from 'undici'
import { app } from '../support/app.js'
import { exchange, statuses } from '../support/http.js'

const run = promisify(execFile)

describe('HTTP apps under serve()', () => {
  const started: Server[] = []
  const start = async (name: string, options: { pool?: number; reactors?: number } = {}): Promise<number> => {
    const server = await serve({
      app: app(name),
      listen: { port: 0, host: '127.0.0.1' },
      reactors: 1,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      ...options,
    })
    started.push(server)
    return server.listeners[0]!.port
  }
  afterEach(async () => {
    for (const server of started.splice(0)) await server.close()
  })

  it('a module that exports fetch is served as it is', async () => {
    const port = await start('http-fetch')
    expect(await (await fetch(`http://127.0.0.1:${port}/a`)).text()).to.equal('fetched /a')
  })

  it('core alone refuses such a module and says what to do', async () => {
    const error = await serveCore({ app: app('http-fetch'), listen: 0, reactors: 1 }).then(
      () => undefined,
      (caught: unknown) => caught as { code: string; message: string },
    )
    expect(error?.code).to.equal('ERR_MR_APP_SHAPE')
    expect(error?.message).to.match(/httpApp\(\)/)
  })

  it('a Hono app runs unchanged', async () => {
    const port = await start('http-hono')
    const url = `http://127.0.0.1:${port}`
    expect(await (await fetch(url)).text()).to.equal('hono')
    const user = await fetch(`${url}/users/ann`, { headers: { 'User-Agent': 'test' } })
    expect([user.headers.get('content-type'), await user.json()]).to.deep.equal([
      'application/json',
      { name: 'ann', agent: 'test' },
    ])
    const echo = await fetch(`${url}/echo`, { method: 'POST', body: '{"a":[1]}' })
    expect(await echo.json()).to.deep.equal({ got: { a: [1] } })
    const redirect = await fetch(`${url}/redirect`, { redirect: 'manual' })
    expect([redirect.status, redirect.headers.get('location')]).to.deep.equal([302, '/'])
    const thrown = await fetch(`${url}/throw`)
    expect([thrown.status, await thrown.text()]).to.deep.equal([500, 'from hono'])
    expect((await fetch(`${url}/nowhere`)).status).to.equal(404)
  })

  it('in the pool a request comes with its whole body, however it was sent, and its response goes back in order', async () => {
    const port = await start('http-pool', { pool: 2 })
    const chunked = 'POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'
    const plain = 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nfg'
    const last = 'HEAD /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    const stream = 'GET /stream HTTP/1.1\r\nHost: a\r\n\r\n'
    const text = await exchange(port, [chunked + stream + plain + last])
    expect(statuses(text)).to.deep.equal([200, 200, 200, 404])
    expect(text).to.match(/X-Length: 5\r\nContent-Length: 5\r\n\r\nabcde.*1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n.*\r\n\r\nfg/s)
    expect(text).to.match(/Connection: close\r\nContent-Length: 10\r\n\r\n$/)
    expect(await exchange(port, [...(chunked + stream + plain + last)])).to.equal(text)
  })

  it('in the pool a bad request is answered behind the good ones before it, and a body that is expected is asked for', async () => {
    const port = await start('http-pool', { pool: 1 })
    const get = 'GET /thread HTTP/1.1\r\nHost: a\r\n\r\n'
    expect(statuses(await exchange(port, [`${get}GET /thread HTTP/1.1\r\n\r\n`]))).to.deep.equal([200, 400])
    const { stdout } = await run('curl', [
      '-sS',
      '-H',
      'Expect: 100-continue',
      '-d',
      'body',
      '-i',
      `http://127.0.0.1:${port}/echo`,
    ])
    expect(stdout).to.match(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK\r\n.*body$/s)
  })

  it('in the pool a handler that throws is answered with 500', async () => {
    const port = await start('http-pool', { pool: 1 })
    expect(statuses(await exchange(port, ['GET /throw HTTP/1.1\r\nHost: a\r\n\r\n']))).to.deep.equal([500])
  })

  it('a route may hand its work to the pool', async () => {
    const port = await start('http-both', { pool: 1 })
    const url = `http://127.0.0.1:${port}`
    const light = await (await fetch(url)).text()
    const [thread, size] = (await (await fetch(`${url}/heavy`, { method: 'POST', body: 'x'.repeat(100_000) })).text()).split(' ')
    expect(size).to.equal('100000')
    expect(thread).to.not.equal(light)
  })

  it('a reload loses no request of a keep-alive connection', async () => {
    const port = await start('http-fetch', { reactors: 2 })
    const agent = new Agent({ connections: 4 })
    let over = false
    let served = 0
    const clients = Array.from({ length: 4 }, async () => {
      while (!over) {
        const { statusCode, body } = await request(`http://127.0.0.1:${port}/r`, { dispatcher: agent })
        expect([statusCode, await body.text()]).to.deep.equal([200, 'fetched /r'])
        served++
      }
    })
    await started[0]!.reload()
    over = true
    await Promise.all(clients)
    await agent.close()
    expect(served).to.be.above(0)
  })

  it('curl: uploads, HEAD and 50 requests on one connection', async () => {
    const port = await start('http-both', { pool: 1 })
    const url = `http://127.0.0.1:${port}`
    const upload = await run('curl', [
      '-sS',
      '--data-binary',
      '@/proc/self/exe',
      '-H',
      'Transfer-Encoding: chunked',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      `${url}/heavy`,
    ])
    expect(upload.stdout).to.be.oneOf(['200', '413'])
    const head = await run('curl', ['-sS', '-I', url])
    expect(head.stdout).to.match(/^HTTP\/1.1 200 OK\r\n/)
    const many = await run('curl', ['-sS', '-w', '%{num_connects}\n', '-o', '/dev/null', ...Array<string>(50).fill(url)])
    expect(many.stdout.trim().split('\n')[0]).to.equal('1')
  })

  it('autocannon: pipelined requests, all of them answered', async () => {
    const port = await start('http-fetch')
    const result = await autocannon({ url: `http://127.0.0.1:${port}`, connections: 10, pipelining: 10, amount: 2_000 })
    expect([result.errors, result.non2xx]).to.deep.equal([0, 0])
    // It stops when the last one has been sent, and does not wait for requests in the pipeline.
    expect(result['2xx']).to.be.within(1_900, 2_000)
  })
})
