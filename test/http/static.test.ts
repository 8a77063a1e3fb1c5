import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serveStatic } from '@hono/node-server/serve-static'
import { expect } from 'chai'
import { Hono } from 'hono'
import { exchangeAll, HttpServer } from '../support/http.js'

const large = Buffer.alloc(300_000, '0123456789')

describe('static files, served by serveStatic of Hono', () => {
  const outside = mkdtempSync(join(tmpdir(), 'multireactor-'))
  const root = join(outside, 'public')
  let server: HttpServer
  before(async () => {
    mkdirSync(root)
    writeFileSync(join(outside, 'secret.txt'), 'secret')
    writeFileSync(join(root, 'small.txt'), '0123456789')
    writeFileSync(join(root, 'large.bin'), large)
    const app = new Hono()
    app.use('/*', serveStatic({ root }))
    server = await HttpServer.start({ fetch: app.fetch as never })
  })
  after(async () => {
    await server.close()
    rmSync(outside, { recursive: true })
  })

  async function ask(method: string, path: string, range = ''): Promise<{ status: number; fields: string; content: string }> {
    const fields = range === '' ? '' : `Range: ${range}\r\n`
    const text = await exchangeAll(server.port, [`${method} ${path} HTTP/1.0\r\nHost: a\r\n${fields}\r\n`])
    const end = text.indexOf('\r\n\r\n')
    return { status: Number(text.split(' ')[1]), fields: text.slice(0, end).toLowerCase(), content: text.slice(end + 4) }
  }

  it('come whole, with type and length', async () => {
    const small = await ask('GET', '/small.txt')
    expect([small.status, small.content]).to.deep.equal([200, '0123456789'])
    expect(small.fields).to.include('content-type: text/plain')
    const whole = await ask('GET', '/large.bin')
    expect([whole.status, whole.content === large.toString()]).to.deep.equal([200, true])
    expect(whole.fields).to.include('content-length: 300000')
  })

  it('say their length to HEAD, and send nothing', async () => {
    const { status, fields, content } = await ask('HEAD', '/large.bin')
    expect([status, content]).to.deep.equal([200, ''])
    expect(fields).to.include('content-length: 300000')
  })

  it('come in ranges', async () => {
    for (const [range, from, to] of [
      ['bytes=0-0', 0, 0],
      ['bytes=100000-200000', 100_000, 200_000],
      ['bytes=299990-', 299_990, 299_999],
      ['bytes=-5', 299_995, 299_999],
    ] as const) {
      const { status, fields, content } = await ask('GET', '/large.bin', range)
      expect([status, content === large.toString('latin1', from, to + 1)], range).to.deep.equal([206, true])
      expect(fields).to.include(`content-range: bytes ${from}-${to}/300000`)
      expect(fields).to.include(`content-length: ${to + 1 - from}`)
    }
  })

  it('do not lie outside of their root', async () => {
    for (const path of [
      '/../secret.txt',
      '/%2e%2e/secret.txt',
      '/..%2fsecret.txt',
      '/a/..%2f..%2fsecret.txt',
      '/..%5csecret.txt',
      '/none',
    ]) {
      const { status, content } = await ask('GET', path)
      expect([status, content.includes('secret')], path).to.deep.equal([404, false])
    }
  })
})
