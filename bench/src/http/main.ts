// CPU per request of HTTP servers, side by side: `npm run http -w bench -- [--seconds 3] [--rounds 5] [--connections 64]`.
// Load comes from wrk (Debian's package; scripts/setup-tools.sh installs it). Rounds go round the servers, so that what else the
// machine does meets all of them; the median of each counts.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const names = ['node', 'uws', 'request', 'fetch', 'fetch-node'] as const
type Name = (typeof names)[number]

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '64' },
    only: { type: 'string' },
  },
})
const chosen = names.filter((name) => !values.only || values.only.split(',').includes(name))

interface Running {
  child: ChildProcess
  port: number
}

async function begin(name: Name): Promise<Running> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./server.js', import.meta.url)), name], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string]
  return { child, port: Number(line) }
}

/** CPU time of the threads of a process so far, in microseconds. */
function cpuOf(pid: number): number {
  let nanoseconds = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0])
  }
  return nanoseconds / 1000
}

function load(port: number, script: string | undefined): number {
  const args = [
    '-t1',
    `-c${values.connections}`,
    `-d${values.seconds}s`,
    ...(script ? ['-s', script] : []),
    `http://127.0.0.1:${port}/`,
  ]
  const report = execFileSync('wrk', args, { encoding: 'utf8' })
  if (/Non-2xx|Socket errors/.test(report)) throw new Error(report)
  return Number(/(\d+) requests in/.exec(report)![1])
}

function median(numbers: number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!
}

const folder = mkdtempSync(join(tmpdir(), 'bench-http-'))
const pipeline = join(folder, 'pipeline.lua')
writeFileSync(
  pipeline,
  'init = function(args) local one = wrk.format("GET", "/"); request16 = string.rep(one, 16) end\nrequest = function() return request16 end\n',
)
const running = new Map<Name, Running>()
try {
  for (const name of chosen) running.set(name, await begin(name))
  for (const [title, script] of [
    ['one request at a time', undefined],
    ['16 pipelined', pipeline],
  ] as const) {
    const costs = new Map<Name, number[]>(chosen.map((name) => [name, []]))
    for (let round = -1; round < Number(values.rounds); round++) {
      for (const [name, { child, port }] of running) {
        const before = cpuOf(child.pid!)
        const requests = load(port, script)
        // The first round warms up.
        if (round >= 0) costs.get(name)!.push((cpuOf(child.pid!) - before) / requests)
      }
    }
    console.log(`\n${title}, ${values.connections} connections\n`)
    console.log(`| server | CPU per request, us | of ${chosen[0]} |\n|---|---:|---:|`)
    const base = median(costs.get(chosen[0]!)!)
    for (const [name, all] of costs) {
      const cost = median(all)
      console.log(`| ${name} | ${cost.toFixed(2)} | ${(cost / base).toFixed(2)} |`)
    }
  }
} finally {
  for (const { child } of running.values()) child.stdin!.end()
  rmSync(folder, { recursive: true })
}
