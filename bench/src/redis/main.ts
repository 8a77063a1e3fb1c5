// CPU per command of the redis example on one reactor, beside redis-server: `npm run redis -w bench -- [--rounds 7] [--requests 200000]
// [--connections 50] [--in-flight 1,16]`. Load comes from redis-benchmark, and the server from redis-server (Debian's packages;
// scripts/setup-tools.sh installs them), which runs without threads of its own and without saving. The servers are pinned to core
// 0, the load to core 1. Rounds go round the servers, so that other load of the machine meets both of them; a ratio is taken
// within a round, and the median of the ratios counts.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { onCores } from '../cores.js'
import { freePort } from '../free-port.js'
import { median } from '../statistics.js'
import { cpuOf } from '../thread-cpu.js'

const names = ['redis-server', 'multireactor'] as const
type Name = (typeof names)[number]

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    requests: { type: 'string', default: '200000' },
    connections: { type: 'string', default: '50' },
    'in-flight': { type: 'string', default: '1,16' },
  },
})
const folder = mkdtempSync(join(tmpdir(), 'bench-redis-'))
const example = fileURLToPath(new URL('../../../examples/redis/', import.meta.url))

interface Running {
  child: ChildProcess
  port: number
}

async function begin(name: Name): Promise<Running> {
  const port = await freePort()
  const command =
    name === 'redis-server'
      ? ['redis-server', '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
      : [process.execPath, join(example, 'main.js')]
  const [program, args] = onCores('0', command)
  const child = spawn(program, args, {
    cwd: name === 'redis-server' ? folder : example,
    env: { ...process.env, REACTORS: '1', PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  child.stdout!.resume()
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const connected = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    if (connected) return { child, port }
    if (child.exitCode !== null) throw new Error(`${name} ended before it listened`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** CPU per command, in microseconds. */
function measure({ child, port }: Running, test: string, inFlight: string, requests: number): number {
  const command = [
    'redis-benchmark',
    '-p',
    String(port),
    '-t',
    test,
    '-P',
    inFlight,
    '-c',
    values.connections,
    '-n',
    String(requests),
  ]
  const [program, args] = onCores('1', [...command, '-r', '10000', '-q'])
  const before = cpuOf(child.pid!)
  const report = execFileSync(program, args, { encoding: 'utf8' })
  if (/error/i.test(report)) throw new Error(report)
  return (cpuOf(child.pid!) - before) / requests
}

const running = new Map<Name, Running>()
try {
  for (const name of names) running.set(name, await begin(name))
  console.log(`Node ${process.versions.node}, ${values.connections} connections, server pinned to core 0, load to core 1\n`)
  console.log('| command | in flight | redis-server, us | multireactor, us | ratio | all ratios |\n|---|---:|---:|---:|---:|---|')
  for (const inFlight of values['in-flight'].split(',')) {
    for (const test of ['set', 'get']) {
      const requests = Number(values.requests) * (inFlight === '1' ? 1 : 4)
      const costs = new Map<Name, number[]>(names.map((name) => [name, []]))
      for (let round = -1; round < Number(values.rounds); round++) {
        for (const [name, server] of running) {
          const cost = measure(server, test, inFlight, requests)
          // The first round warms up.
          if (round >= 0) costs.get(name)!.push(cost)
        }
      }
      const [theirs, ours] = names.map((name) => costs.get(name)!) as [number[], number[]]
      const ratios = ours.map((cost, i) => cost / theirs[i]!)
      const cells = [test.toUpperCase(), inFlight, median(theirs).toFixed(2), median(ours).toFixed(2), median(ratios).toFixed(2)]
      console.log(`| ${cells.join(' | ')} | ${ratios.map((ratio) => ratio.toFixed(2)).join(' ')} |`)
    }
  }
} finally {
  for (const { child } of running.values()) {
    const exited = once(child, 'exit')
    if (child.exitCode === null && child.kill('SIGTERM')) await exited
  }
  rmSync(folder, { recursive: true })
}
