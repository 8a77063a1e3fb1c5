// CPU per request of HTTP servers, side by side: `npm run http -w bench -- [--seconds 3] [--rounds 5] [--connections 64]`.
// Load comes from wrk (Debian's package; scripts/setup-tools.sh installs it). Rounds go round the servers, so that other load of the
// machine meets all of them; the median of each counts.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { compare, type Running, startNamed } from '../side-by-side.js'

const names = ['node', 'uws', 'request', 'fetch', 'fetch-node']

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '64' },
    only: { type: 'string' },
  },
})
const chosen = names.filter((name) => !values.only || values.only.split(',').includes(name))

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

const folder = mkdtempSync(join(tmpdir(), 'bench-http-'))
const pipeline = join(folder, 'pipeline.lua')
writeFileSync(
  pipeline,
  'init = function(args) local one = wrk.format("GET", "/"); request16 = string.rep(one, 16) end\nrequest = function() return request16 end\n',
)
const running = new Map<string, Running>()
try {
  for (const name of chosen) running.set(name, await startNamed(new URL('./server.js', import.meta.url), name))
  for (const [title, script] of [
    ['one request at a time', undefined],
    ['16 pipelined', pipeline],
  ] as const) {
    await compare(`${title}, ${values.connections} connections`, 'request', Number(values.rounds), running, ({ port }) =>
      load(port, script),
    )
  }
} finally {
  for (const { child } of running.values()) child.stdin!.end()
  rmSync(folder, { recursive: true })
}
