import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import autocannon from 'autocannon'
import { expect } from 'chai'
import { Example } from '../support/example.js'
import { tool } from '../support/tool.js'

/** Sixteen requests in one write, each time. */
const pipelined = `
local batch
init = function()
  local requests = {}
  for i = 1, 16 do requests[i] = wrk.format(nil, i % 4 == 0 and "/version" or "/health") end
  batch = table.concat(requests)
end
request = function() return batch end
`

describe('the example http-api', function () {
  this.timeout(120_000)
  let example: Example
  let url: string
  beforeEach(async () => {
    example = new Example('http-api')
    const [port] = await example.ports()
    url = `http://127.0.0.1:${port}`
  })
  afterEach(() => Example.killAll())

  async function stopped(): Promise<void> {
    expect(await example.stop()).to.equal(0)
    expect(example.errors).to.equal('')
  }
  async function curl(...args: string[]): Promise<{ status: number; body: string }> {
    const { code, stdout, stderr } = await tool('curl', ['-sS', '-w', '\n%{http_code}', ...args])
    expect(code, stderr).to.equal(0)
    const at = stdout.lastIndexOf('\n')
    return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) }
  }

  it('answers curl: light routes, orders that are good, bad and large', async () => {
    expect(await curl(`${url}/health`)).to.deep.equal({ status: 200, body: 'ok\n' })
    const good = await curl('-d', '{"id":1,"lines":[{"price":5,"count":3}]}', `${url}/orders`)
    expect([good.status, JSON.parse(good.body)]).to.deep.equal([200, { id: 1, total: 15 }])
    const bad = await curl('-d', '{"id":"x","lines":[]}', `${url}/orders`)
    expect([bad.status, JSON.parse(bad.body)]).to.deep.equal([
      422,
      { errors: ['id must be a whole number', 'lines must be a list with something in it'] },
    ])
    for (const none of ['null', '7', '"order"', '[]', 'true', '', '{']) {
      const { status, body } = await curl('-d', none, `${url}/orders`)
      expect([status, Object.keys(JSON.parse(body) as object)], none).to.deep.equal([400, ['errors']])
    }
    for (const lines of ['null', '{}', '[null]', '[[]]', '[{"price":null,"count":1}]', '[{"price":1,"count":"1"}]', '"ab"']) {
      const { status, body } = await curl('-d', `{"id":1,"lines":${lines}}`, `${url}/orders`)
      expect([status, (JSON.parse(body) as { errors: string[] }).errors.length], lines).to.deep.equal([422, 1])
    }
    const many = await curl('-d', `{"id":1,"lines":[${Array.from({ length: 5_000 }, () => 'null').join()}]}`, `${url}/orders`)
    expect([many.status, (JSON.parse(many.body) as { errors: string[] }).errors.length]).to.deep.equal([422, 20])
    const folder = mkdtempSync(join(tmpdir(), 'multireactor-http-api-'))
    const file = join(folder, 'order.json')
    writeFileSync(file, JSON.stringify({ id: 2, lines: Array.from({ length: 50_000 }, () => ({ price: 1, count: 2 })) }))
    // More than a megabyte: curl asks with `Expect: 100-continue` first.
    const large = await curl('--data-binary', `@${file}`, `${url}/orders`)
    rmSync(folder, { recursive: true })
    expect([large.status, JSON.parse(large.body)]).to.deep.equal([200, { id: 2, total: 100_000 }])
    expect((await curl(`${url}/nowhere`)).status).to.equal(404)
    await stopped()
  })

  it('answers wrk, sixteen requests at once on each connection', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multireactor-http-api-'))
    const script = join(folder, 'pipelined.lua')
    writeFileSync(script, pipelined)
    const { code, stdout, stderr } = await tool('wrk', ['-t', '1', '-c', '16', '-d', '1', '-s', script, url])
    rmSync(folder, { recursive: true })
    expect(code, stderr).to.equal(0)
    expect(stdout)
      .to.match(/Requests\/sec: +[1-9]/)
      .and.not.include('Socket errors')
      .and.not.include('Non-2xx')
    await stopped()
  })

  it('loses no request of autocannon, light ones and orders, while it reloads', async () => {
    let load: autocannon.Instance
    const result = new Promise<autocannon.Result>((resolve, reject) => {
      load = autocannon(
        {
          url,
          connections: 8,
          pipelining: 4,
          duration: 60,
          requests: [
            { path: '/version' },
            { method: 'POST', path: '/orders', body: '{"id":1,"lines":[{"price":5,"count":3}]}' },
            { path: '/health' },
          ],
        },
        (error: Error | null, measured) => (error ? reject(error) : resolve(measured)),
      )
    })
    example.signal('SIGHUP')
    await example.until((output) => output.includes('reloaded'))
    load!.stop()
    const { errors, timeouts, non2xx, resets, '2xx': good } = await result
    expect({ errors, timeouts, non2xx, resets }).to.deep.equal({ errors: 0, timeouts: 0, non2xx: 0, resets: 0 })
    expect(good).to.be.above(0)
    await stopped()
  })
})
