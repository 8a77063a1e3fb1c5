// One message to many subscribers: `npm run publish -w bench -- [--connections 1000] [--reactors 2] [--bytes 64,1024,16384] [--rounds 7]
// [--messages 300]`. CPU of the server for each delivery, beside a plain write of the same bytes to the same connections: by a C
// program that only calls send(), in as many threads as there are reactors, and by `conn.write` on the same reactors. A ratio is
// taken within a round, in which all have been measured one after the other; the median of the ratios counts.
import { type ChildProcess, spawn } from 'node:child_process'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { buildNative, fanout } from '../native.js'
import { median } from '../statistics.js'

const ways = ['send', 'write', 'publish'] as const
type Way = (typeof ways)[number]

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '1000' },
    reactors: { type: 'string', default: '2' },
    bytes: { type: 'string', default: '64,1024,16384' },
    rounds: { type: 'string', default: '7' },
    messages: { type: 'string', default: '300' },
  },
})

async function begin(way: Way, bytes: string): Promise<{ child: ChildProcess; port: string }> {
  const [program, args] =
    way === 'send'
      ? [fanout, ['serve', bytes, values.reactors]]
      : [process.execPath, [fileURLToPath(new URL('./server.js', import.meta.url))]]
  const child = spawn(program, args, {
    env: { ...process.env, BYTES: bytes, REACTORS: values.reactors, HOW: way },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [port] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string]
  return { child, port }
}

/** CPU of the server for each delivery, in nanoseconds. */
async function measure(way: Way, bytes: string): Promise<number> {
  const { child, port } = await begin(way, bytes)
  try {
    const args = ['read', port, values.connections, bytes, values.messages, String(child.pid)]
    return Number((await promisify(execFile)(fanout, args)).stdout)
  } finally {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
}

buildNative()
console.log(`Node ${process.versions.node}, ${values.connections} subscribers on ${values.reactors} reactors, not pinned\n`)
console.log('| bytes | send() in C, ns | conn.write, ns | publish, ns | publish / send() | publish / conn.write |')
console.log('|---:|---:|---:|---:|---:|---:|')
for (const bytes of values.bytes.split(',')) {
  const costs = new Map<Way, number[]>(ways.map((way) => [way, []]))
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const way of ways) costs.get(way)!.push(await measure(way, bytes))
  }
  const [send, write, publish] = ways.map((way) => costs.get(way)!) as [number[], number[], number[]]
  const ratio = (to: number[]) => median(publish.map((cost, i) => cost / to[i]!)).toFixed(2)
  const cells = [bytes, ...[send, write, publish].map((all) => median(all).toFixed(0)), ratio(send), ratio(write)]
  console.log(`| ${cells.join(' | ')} |`)
}
