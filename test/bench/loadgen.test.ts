import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildNative, epollEcho, loadgen } from '@multireactor/bench/native'
import { available, candidates } from '@multireactor/bench/candidates'
import { measure } from '@multireactor/bench/load'
import { ServerProcess } from '@multireactor/bench/server-process'
import { type WorkloadName, Workloads } from '@multireactor/bench/workload'
import { expect } from 'chai'

interface Ended {
  code: number
  stdout: string
  stderr: string
}

function load(port: number, ...flags: string[]): Promise<Ended> {
  const args = ['--to', String(port), '--connections', '2', '--in-flight', '2', ...flags]
  return new Promise((resolve) => {
    execFile(loadgen, args, { timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

const frames = ['--mode', 'lines', '--payload', '16', '--frames', '400']

describe('the load generator', function () {
  this.timeout(120_000)
  const servers: Server[] = []
  let folder: string

  /** A server that answers every line by `answer`. */
  async function listen(answer: (line: string, count: number, socket: Socket) => string | undefined): Promise<number> {
    let count = 0
    const server = createServer({ noDelay: true }, (socket) => {
      let rest = ''
      socket.setEncoding('latin1').on('data', (text: string) => {
        const lines = (rest + text).split('\n')
        rest = lines.pop()!
        for (const line of lines) {
          const reply = answer(`${line}\n`, count++, socket)
          if (reply !== undefined) socket.write(reply, 'latin1')
        }
      })
      socket.on('error', () => socket.destroy())
    })
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return (server.address() as AddressInfo).port
  }

  before(() => {
    buildNative()
    folder = mkdtempSync(join(tmpdir(), 'multireactor-loadgen-'))
  })
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))))
  })
  after(() => rmSync(folder, { recursive: true }))

  it('verifies every reply of a server that is right', async () => {
    const { code, stdout, stderr } = await load(await listen((line) => line), ...frames)
    expect(stderr).to.equal('')
    expect(code).to.equal(0)
    expect(JSON.parse(stdout)).to.include({ requests: 400, verified: 400, errors: 0 })
  })

  const wrongs: [name: string, answer: (line: string, count: number, socket: Socket) => string | undefined, says: RegExp][] = [
    ['one wrong byte', (line, count) => (count === 300 ? `${line.slice(0, -2)}\x7f\n` : line), /byte 14: expected/],
    ['one byte too many', (line, count) => (count === 399 ? `${line}!` : line), /a reply without a request|expected/],
    ['one reply twice', (line, count) => (count === 300 ? line + line : line), /a reply without a request|expected/],
    [
      'a connection that closes',
      (line, count, socket) => (count === 300 ? void socket.destroy() : line),
      /closed by the server|reset/i,
    ],
  ]
  for (const [name, answer, says] of wrongs) {
    it(`ends at ${name}, and says where`, async () => {
      const { code, stdout, stderr } = await load(await listen(answer), ...frames)
      expect(code).to.equal(1)
      expect(stdout).to.equal('')
      expect(stderr)
        .to.match(says)
        .and.match(/^loadgen: connection \d/)
    })
  }

  it('tells a reply of another connection from the right one', async () => {
    const sockets: Socket[] = []
    const port = await listen((line, count, socket) => {
      if (!sockets.includes(socket)) sockets.push(socket)
      if (count !== 300) return line
      sockets.find((other) => other !== socket)!.write(line, 'latin1')
      return undefined
    })
    const { code, stderr } = await load(port, ...frames)
    expect(code).to.equal(1)
    expect(stderr).to.match(/expected|a reply without a request/)
  })

  it('verifies both groups of connections, and finds a wrong reply in the second', async () => {
    const heavy = join(folder, 'heavy')
    const light = join(folder, 'light')
    writeFileSync(heavy, `${'h'.repeat(200_000)}\n`)
    writeFileSync(light, 'light 1\nlight 2\n')
    const flags = ['--mode', 'json', '--data', light, '--expect', light, '--seconds', '0.2', '--warmup', '0.05']
    const beside = ['--beside-connections', '2', '--beside-in-flight', '1', '--beside-data', heavy, '--beside-expect', heavy]
    const right = await load(await listen((line) => line), ...flags, ...beside)
    expect(right.stderr).to.equal('')
    const { verified, beside: second } = JSON.parse(right.stdout)
    expect(verified).to.be.above(0)
    expect(second.verified).to.be.above(0)
    const wrong = await load(await listen((line) => (line.startsWith('h') ? `H${line.slice(1)}` : line)), ...flags, ...beside)
    expect(wrong.code).to.equal(1)
    expect(wrong.stderr).to.match(/^loadgen: connection [23] .*byte 0: expected/)
  })

  it('lives through connections, and finds a server that ends one before its echo', async () => {
    const flags = ['--mode', 'churn', '--payload', '16', '--seconds', '0.2', '--warmup', '0.05']
    const server = createServer((socket) => void socket.on('error', () => socket.destroy()).pipe(socket))
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const right = await load((server.address() as AddressInfo).port, ...flags)
    expect(right.stderr).to.equal('')
    expect(JSON.parse(right.stdout).verified).to.be.above(2)
    const closing = createServer((socket) => void socket.on('error', () => {}).on('data', () => socket.end('x')))
    servers.push(closing)
    await new Promise<void>((resolve) => closing.listen(0, '127.0.0.1', resolve))
    const wrong = await load((closing.address() as AddressInfo).port, ...flags)
    expect(wrong.code).to.equal(1)
    expect(wrong.stderr).to.match(/^loadgen: connection \d+ to \d+/)
  })

  const pairs: [server: string, works: WorkloadName[]][] = [
    ['C epoll', ['echo', 'bytes', 'lines', 'json128', 'churn']],
    ['net', ['bytes', 'lines']],
    ['Bun', ['echo', 'bytes', 'json20k']],
    ['multireactor 1+0', ['echo', 'bytes', 'isolation']],
    ['multireactor 1+1', ['json128', 'isolation']],
  ]
  for (const [name, works] of pairs) {
    it(`gets from ${name} what it must, for ${works.join(', ')}`, async function () {
      const { present } = available(candidates.filter((candidate) => candidate.name === name))
      if (present.length === 0) this.skip()
      const workloads = new Workloads()
      try {
        for (const work of works) {
          const workload = workloads.make(work)
          const server = await ServerProcess.start(present[0]!, workload.work, undefined, { limitMs: 60_000 })
          try {
            const shape = { connections: 4, inFlight: work === 'isolation' || work === 'churn' ? 1 : 4 }
            const result = await measure(server, workload, { ...shape, seconds: 0.1, warmup: 0.05, cores: undefined })
            expect(result.verified, work).to.be.above(0)
            if (work === 'isolation') expect(result.beside!.verified).to.be.above(0)
          } finally {
            await server.stop()
          }
        }
      } finally {
        workloads.remove()
      }
    })
  }

  it('counts the connections that the C server has open', async () => {
    const server = await ServerProcess.start(candidates.find(({ name }) => name === 'C epoll')!, 'echo', undefined)
    try {
      expect(epollEcho).to.include('epoll_echo')
      expect(await server.counts()).to.deep.equal({ open: 0, frames: [], held: 0 })
    } finally {
      await server.stop()
    }
  })
})
