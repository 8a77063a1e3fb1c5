import fs, { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { Example } from '../support/example.js'
import { importExample } from '../support/example_module.js'
import { type Family, parsePrometheus, sumOf } from '../support/prometheus.js'
import { tool } from '../support/tool.js'

interface Record {
  received: string
  from: string
  format: string
  facility?: number
  severity?: number
  time?: string
  host?: string
  app?: string
  process?: string
  data?: unknown
  message: string
}

describe('the example collector', function () {
  this.timeout(120_000)
  let home: string
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'multireactor-collector-'))
  })
  afterEach(async () => {
    await Example.killAll()
    rmSync(home, { recursive: true })
  })

  interface Started {
    example: Example
    lines: number
    octets: number
    metrics: number
    socket: string
  }
  async function started(environment: { [name: string]: string } = {}): Promise<Started> {
    const socket = join(home, 'collector.sock')
    Example.environment = { OUT: join(home, 'out.jsonl'), SOCKET: socket, ...environment }
    const example = new Example('collector')
    const [lines, octets, metrics] = (await example.ports(3)) as [number, number, number]
    return { example, lines, octets, metrics, socket }
  }
  const records = (): Record[] =>
    existsSync(join(home, 'out.jsonl'))
      ? readFileSync(join(home, 'out.jsonl'), 'utf8')
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as Record)
      : []
  async function scrape(port: number): Promise<Map<string, Family>> {
    const { code, stdout, stderr } = await tool('curl', ['-sSi', '--max-time', '20', `http://127.0.0.1:${port}/metrics`])
    expect(code, stderr).to.equal(0)
    const [head, body] = stdout.split('\r\n\r\n') as [string, string]
    expect(head)
      .to.match(/^HTTP\/1\.1 200 /)
      .and.match(/^content-type: text\/plain; version=0\.0\.4/im)
    return parsePrometheus(body)
  }
  const log = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await tool('logger', args)
    expect(code, stderr).to.equal(0)
  }

  it('takes what logger sends, over TCP in both formats and framings, and over a Unix socket', async () => {
    const { example, lines, octets, metrics, socket } = await started()
    const tcp = ['-n', '127.0.0.1', '-T', '-t', 'demo']
    await log(...tcp, '-P', String(lines), '-p', 'user.err', '--id=77', 'modern, as a line')
    await log(...tcp, '-P', String(lines), '--rfc3164', '-p', 'daemon.info', 'classic, as a line')
    await log(...tcp, '-P', String(octets), '--octet-count', '--sd-id', 'zoo@123', '--sd-param', 'tiger="hungry \\]"', 'counted')
    await log('-u', socket, '-t', 'demo', '-p', 'local0.debug', 'local')
    const collector = (families: Map<string, Family>) => sumOf(families, 'collector_messages')
    let families = await scrape(metrics)
    while (collector(families) < 4) families = await scrape(metrics)
    expect(sumOf(families, 'collector_messages', { severity: 'err' })).to.equal(1)
    expect(sumOf(families, 'collector_messages', { severity: 'notice' })).to.equal(1)
    expect(sumOf(families, 'multireactor_frames_submitted')).to.be.at.least(4)
    expect(await example.stop()).to.equal(0)
    expect(example.errors).to.equal('')

    const all = Object.fromEntries(records().map((record) => [record.message, record]))
    expect(all['modern, as a line']).to.deep.include({
      received: 'lines',
      from: '::ffff:127.0.0.1',
      format: 'rfc5424',
      facility: 1,
      severity: 3,
      app: 'demo',
      process: '77',
    })
    expect(Math.abs(Date.now() - Date.parse(all['modern, as a line']!.time!))).to.be.below(120_000)
    expect(all['classic, as a line']).to.deep.include({ format: 'rfc3164', facility: 3, severity: 6, app: 'demo' })
    expect(Math.abs(Date.now() - Date.parse(all['classic, as a line']!.time!))).to.be.below(120_000)
    expect(all['counted']).to.deep.include({ received: 'octets', severity: 5 })
    expect((all['counted']!.data as { [id: string]: unknown })['zoo@123']).to.deep.equal({ tiger: 'hungry ]' })
    expect(all['local']).to.deep.include({ received: 'local', from: 'local', facility: 16, severity: 7, app: 'demo' })
    expect(all['local']).to.not.have.property('host')
  })

  it('loses nothing of a burst from nc', async () => {
    const { example, lines, metrics } = await started({ POOL: '1' })
    const count = 50_000
    const burst = Array.from({ length: count }, (_, i) => `<13>Oct 11 22:14:15 host burst[${i % 7}]: message ${i}\n`).join('')
    const halves = await Promise.all([
      tool('nc', ['-N', '127.0.0.1', String(lines)], burst),
      tool('nc', ['-N', '127.0.0.1', String(lines)], burst),
    ])
    expect(halves.map(({ code }) => code)).to.deep.equal([0, 0])
    expect(await example.stop()).to.equal(0)
    const seen = new Map<string, number>()
    for (const { message } of records()) seen.set(message, (seen.get(message) ?? 0) + 1)
    expect(seen.size).to.equal(count)
    expect([...seen.values()].every((times) => times === 2)).to.equal(true)
    expect(metrics).to.be.above(0)
  })

  it('says what a full disk has cost, counts it, goes on, and writes again when there is room', async () => {
    const out = join(home, 'out.jsonl')
    symlinkSync('/dev/full', out)
    const { example, lines, metrics } = await started({ POOL: '1' })
    const send = async (text: string): Promise<void> => {
      const { code } = await tool('nc', ['-N', '127.0.0.1', String(lines)], text)
      expect(code).to.equal(0)
    }
    /** Both reactors hear of the counts, one of them sooner: values that belong together come from one answer. */
    const until = async (name: string, least: number): Promise<Map<string, Family>> => {
      for (;;) {
        const families = await scrape(metrics)
        if (sumOf(families, name) >= least) return families
      }
    }
    // Those that are there when it fails wait; of the others, those for which there is no room are lost.
    await send('first\n')
    while (!example.errors.includes(`${out} cannot be written (ENOSPC)`)) await until('collector_messages', 1)
    const long = 'x'.repeat(60_000)
    const count = 100
    await send(`${long}\n`.repeat(count))
    const lost = sumOf(await until('collector_messages', count + 1), 'collector_records_lost')
    expect(lost).to.be.above(0).and.below(count)
    const replacement = join(home, 'replacement')
    symlinkSync(join(home, 'room.jsonl'), replacement)
    renameSync(replacement, out)
    while (!example.errors.includes(`${out} is written again`)) await until('collector_messages', 1)
    await send('last\n')
    await until('collector_messages', count + 2)
    expect(await example.stop()).to.equal(0)
    const messages = records().map(({ message }) => message)
    expect(messages[0]).to.equal('first')
    expect(messages.at(-1)).to.equal('last')
    expect(messages.filter((message) => message === long)).to.have.length(count - lost)
    expect(example.errors).to.include(`${lost} records are lost, ${lost} by now`).and.not.include('replaced')
  })

  it('says at the end what it could not write', async () => {
    const { example, lines, metrics } = await started({ POOL: '1', OUT: '/dev/full' })
    expect((await tool('nc', ['-N', '127.0.0.1', String(lines)], 'one\ntwo\n')).code).to.equal(0)
    while (sumOf(await scrape(metrics), 'collector_messages') < 2);
    expect(await example.stop()).to.equal(0)
    expect(example.errors).to.include('/dev/full cannot be written (ENOSPC)').and.include('2 records are lost, 2 by now')
  })

  it('closes what is too much from one address, and says so in the metrics', async () => {
    const { example, lines, octets, metrics } = await started({ PER_ADDRESS: '3' })
    // Another address than the scraper's. Which of four the reactors see last is theirs to say: one is too many.
    const senders = Array.from({ length: 4 }, () =>
      connect({ port: lines, host: '127.0.0.1', localAddress: '127.0.0.2' }).resume(),
    )
    await Promise.race(senders.map((sender) => new Promise((resolve) => sender.on('error', () => {}).once('close', resolve))))
    let families = await scrape(metrics)
    expect(sumOf(families, 'multireactor_closed', { reason: 'address-limit' })).to.equal(1)
    for (const sender of senders) sender.destroy()
    // Neither is a message that does not begin with its length.
    const wordy = await Client.connect(octets)
    wordy.write('no length here')
    await wordy.untilClosed()
    families = await scrape(metrics)
    expect(sumOf(families, 'multireactor_closed', { reason: 'malformed-frame' })).to.equal(1)
    const { stdout } = await tool('curl', ['-sS', '-o', '/dev/null', '-w', '%{http_code}', `http://127.0.0.1:${metrics}/`])
    expect(stdout).to.equal('404')
    expect(await example.stop()).to.equal(0)
  })

  describe('its sink', () => {
    it('writes a record that a full disk has cut once more, as a line of its own', async () => {
      const { Sink } = (await importExample('collector/sink.ts')) as {
        Sink: new (path: string, options: object) => { write(record: object): void; close(): void }
      }
      const path = join(home, 'cut.jsonl')
      let again: (() => void) | undefined
      const writtenAgain = new Promise<void>((resolve) => {
        again = resolve
      })
      const said: string[] = []
      const say = (line: string): void => {
        said.push(line)
        if (line.endsWith('is written again')) again!()
      }
      const sink = new Sink(path, { retryMs: 1, onLost() {}, say })
      // As the kernel on a full disk: writes a part, then nothing.
      const { writeSync } = fs
      let calls = 0
      fs.writeSync = ((fd: number, bytes: Buffer, at: number): number => {
        if (++calls === 2) throw Object.assign(new Error('full'), { code: 'ENOSPC' })
        return writeSync(fd, bytes, at, calls === 1 ? 12 : bytes.length - at)
      }) as typeof writeSync
      syncBuiltinESMExports()
      try {
        for (const n of [1, 2, 3]) sink.write({ n })
        await writtenAgain
      } finally {
        fs.writeSync = writeSync
        syncBuiltinESMExports()
      }
      sink.close()
      expect(readFileSync(path, 'utf8')).to.equal('{"n":1}\n{"n"\n{"n":2}\n{"n":3}\n')
      expect(said[0]).to.include('cannot be written (ENOSPC)')
      expect(said).to.have.length(2)
    })
  })

  describe('its parser', () => {
    let parseSyslog: (text: string, now: Date) => Record
    const now = new Date('2024-01-02T03:04:05Z')
    before(async () => {
      const module = (await importExample('collector/syslog.ts')) as { parseSyslog: typeof parseSyslog }
      parseSyslog = module.parseSyslog
    })

    it('reads the examples of RFC 5424', () => {
      expect(
        parseSyslog("<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \uFEFF'su root' failed for lonvick", now),
      ).to.deep.equal({
        format: 'rfc5424',
        facility: 4,
        severity: 2,
        time: '2003-10-11T22:14:15.003Z',
        host: 'mymachine.example.com',
        app: 'su',
        messageId: 'ID47',
        message: "'su root' failed for lonvick",
      })
      expect(parseSyslog("<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time.", now)).to.deep.include(
        {
          time: '2003-08-24T12:14:15.000Z',
          process: '8710',
          message: "%% It's time.",
        },
      )
      const sample =
        '<165>1 2003-10-11T22:14:15.003Z host evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="A\\"p\\\\p\\]"][examplePriority@32473 class="high"]'
      expect(parseSyslog(sample, now)).to.deep.include({
        data: {
          'exampleSDID@32473': { iut: '3', eventSource: 'A"p\\p]' },
          'examplePriority@32473': { class: 'high' },
        },
        message: '',
      })
    })

    it('reads the examples of RFC 3164, with the year that they leave out', () => {
      const time = (text: string) => new Date(parseSyslog(text, now).time!)
      const record = parseSyslog("<34>Oct 11 22:14:15 mymachine su[5]: 'su root' failed", now)
      expect(record).to.deep.include({
        format: 'rfc3164',
        host: 'mymachine',
        app: 'su',
        process: '5',
        message: "'su root' failed",
      })
      expect(new Date(record.time!).getFullYear()).to.equal(2023)
      expect(time('<13>Jan  2 01:00:00 host x: y').getFullYear()).to.equal(2024)
      expect(parseSyslog('<0>Jan  2 01:00:00 kernel: panic', now)).to.deep.include({ app: 'kernel', message: 'panic' })
    })

    it('keeps names that JavaScript has other plans with', () => {
      const { data } = parseSyslog('<34>1 - h a - - [__proto__ __proto__="x" constructor="y"][constructor a="b"] m', now)
      expect(JSON.stringify(data)).to.equal('{"__proto__":{"__proto__":"x","constructor":"y"},"constructor":{"a":"b"}}')
    })

    it('keeps what is neither as it is', () => {
      const wrong = [
        'hello',
        '<999>1 2003-10-11T22:14:15.003Z h a - - - x',
        '<34>1 yesterday h a - - - x',
        '<34>1 - h a - - [open x="1" x',
        '<34>Foo 11 22:14:15 host x: y',
      ]
      for (const text of wrong) expect(parseSyslog(text, now)).to.deep.equal({ format: 'none', message: text })
    })
  })
})
