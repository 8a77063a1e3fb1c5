import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { Example } from '../support/example.js'

const folder = fileURLToPath(new URL('../../../examples/ingest/', import.meta.url))

/** As far as the tests use it. */
interface Database {
  exec(sql: string): void
  close(): void
}

const line = (id: number | string, name = 'kettle', value: unknown = 1): string =>
  `${JSON.stringify({ id: `${name}-${id}`, name, value })}\n`
const many = (count: number, name: string): string => Array.from({ length: count }, (_, i) => line(i, name)).join('')
const answers = ({ received }: Client): string[] => received.toString().split('\n').slice(0, -1)

describe('the example ingest', function () {
  this.timeout(120_000)
  let home: string
  let example: Example
  let port: number
  const clients: Client[] = []

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'multireactor-ingest-'))
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy()
    await Example.killAll()
    rmSync(home, { recursive: true })
  })

  async function started(environment: Record<string, string> = {}): Promise<void> {
    Example.environment = { DB: join(home, 'ingest.db'), ...environment }
    example = new Example('ingest')
    ;[port] = (await example.ports()) as [number]
  }
  async function connected(): Promise<Client> {
    const client = await Client.connect(port)
    clients.push(client)
    return client
  }
  /** Sends lines, and resolves to their answers. */
  async function send(text: string): Promise<string[]> {
    const client = await connected()
    client.write(text)
    return await client.lines(text.split('\n').length - 1)
  }
  /** By name, as a process of its own sees them. */
  async function stored(): Promise<{ [name: string]: number }> {
    const { stdout } = await promisify(execFile)(process.execPath, ['count.js'], {
      cwd: folder,
      env: { ...process.env, DB: join(home, 'ingest.db') },
    })
    const rows = stdout.split('\n').filter((row) => row !== '')
    return Object.fromEntries(rows.map((row) => row.split(' ')).map(([name, count]) => [name, Number(count)])) as {
      [name: string]: number
    }
  }

  it('stores what it has answered with ok, each reading once, from many senders', async () => {
    await started()
    const names = ['a', 'b', 'c', 'd']
    const all = await Promise.all(names.map((name) => send(many(3_000, name))))
    for (const one of all) expect(new Set(one)).to.deep.equal(new Set(['ok']))
    expect(new Set(await send(many(100, 'a')))).to.deep.equal(new Set(['ok']))
    expect(await stored()).to.deep.equal({ a: 3_000, b: 3_000, c: 3_000, d: 3_000 })
    expect(await example.stop()).to.equal(0)
    expect(example.output).to.include('closed:')
  })

  it('has stored everything that it has answered when it is killed', async () => {
    await started()
    const client = await connected()
    client.socket.on('error', () => {})
    client.write(many(50_000, 'kettle'))
    await client.until((one) => answers(one).length > 0)
    await example.kill()
    await client.untilClosed()
    const acknowledged = answers(client).filter((answer) => answer === 'ok').length
    expect((await stored())['kettle']).to.be.at.least(acknowledged)
    // It starts again on the same file, and the sender sends everything once more.
    await started()
    const again = await send(many(5_000, 'kettle'))
    expect(new Set(again)).to.deep.equal(new Set(['ok']))
    expect((await stored())['kettle']).to.be.at.least(5_000)
    expect(await example.stop()).to.equal(0)
  })

  it('refuses ids that would be stored as the same one, and takes pairs', async () => {
    await started({ REACTORS: '1' })
    const ids = ['\\ud800', '\\ud801', '\\udc00\\ud800', '\\ud83d\\ude00']
    const answered = await send(ids.map((id) => `{"id":"${id}","name":"kettle","value":1}\n`).join(''))
    const wrong = 'error id must have 1 to 64 characters'
    expect(answered).to.deep.equal([wrong, wrong, wrong, 'ok'])
    expect(await stored()).to.deep.equal({ kettle: 1 })
    expect(await example.stop()).to.equal(0)
  })

  it('says what is wrong with a line, in its place, and goes on', async () => {
    await started({ REACTORS: '1' })
    const wrong = [
      'hello\n',
      '\n',
      'null\n',
      '[]\n',
      '7\n',
      '{}\n',
      line(1, 'kettle', '1'),
      line(1, 'kettle', null),
      line(1, ''),
      '{"id":1,"name":"kettle","value":1}\n',
      '{"id":"x","name":"kettle","value":1e999}\n',
      '{"id":"x","name":"kettle","value":1,"at":-1}\n',
      '{"id":"x","name":"kettle","value":1,"at":1.5}\n',
      `{"id":"${'x'.repeat(65)}","name":"kettle","value":1}\n`,
      '{"__proto__":{"id":"x","name":"kettle","value":1}}\n',
    ]
    const got = await send(wrong.map((text, i) => text + line(i, 'good')).join(''))
    for (const [i, answer] of got.entries()) {
      if (i % 2 === 0) expect(answer, wrong[i / 2]).to.match(/^error /)
      else expect(answer).to.equal('ok')
    }
    const odd = ["'); drop table readings; --", '\u0000', '\u{1f600}', '%s']
    expect(await send(odd.map((name) => line(1, name)).join(''))).to.deep.equal(odd.map(() => 'ok'))
    const long = await connected()
    long.write('x'.repeat(5_000))
    await long.untilClosed()
    for (let i = 0; i < 10; i++) {
      const noisy = await connected()
      noisy.write(randomBytes(3_000))
      noisy.socket.end()
      await noisy.untilClosed()
    }
    expect(await send(line('last', 'good'))).to.deep.equal(['ok'])
    expect((await stored())['good']).to.equal(wrong.length + 1)
    expect(await example.stop()).to.equal(0)
  })

  it('answers readings that it could not store, and stores again when the database is free', async () => {
    await started({ BUSY_MS: '50' })
    expect(await send(line(1))).to.deep.equal(['ok'])
    const { openDatabase } = (await import(join(folder, 'database.js'))) as {
      openDatabase(path: string, busyMs: number): Database
    }
    const other = openDatabase(join(home, 'ingest.db'), 10_000)
    other.exec('begin immediate')
    try {
      expect(await send(line(2) + line(3))).to.deep.equal(Array.from({ length: 2 }, () => 'error not stored, send it again'))
      other.exec('rollback')
    } finally {
      other.close()
    }
    expect(await send(line(2) + line(3))).to.deep.equal(['ok', 'ok'])
    expect(await stored()).to.deep.equal({ kettle: 3 })
    expect(await example.stop()).to.equal(0)
    expect(example.errors).to.match(/ingest: \d readings? are not stored: database is locked/)
  })

  it('does not let a sender who reads no answers hold up the others, and owes him nothing in the end', async () => {
    await started()
    const count = 60_000
    const greedy = await connected()
    greedy.socket.pause()
    greedy.write(many(count, 'greedy'))
    expect(new Set(await send(many(500, 'polite')))).to.deep.equal(new Set(['ok']))
    greedy.socket.resume()
    const got = await greedy.lines(count)
    expect(new Set(got)).to.deep.equal(new Set(['ok']))
    expect(await stored()).to.deep.equal({ greedy: count, polite: 500 })
    expect(await example.stop()).to.equal(0)
  })

  it('does not start with a database that it cannot open', async () => {
    Example.environment = { DB: join(home, 'nowhere/ingest.db') }
    example = new Example('ingest')
    expect(await example.exit()).to.equal(1)
    expect(example.errors).to.match(/unable to open database file|directory does not exist/)
  })
})
