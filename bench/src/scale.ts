import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { fillDocument } from './document.js'
import { tableOf } from './markdown.js'
import { buildNative, queueScale, queueScaleCounted } from './native.js'
import { median } from './statistics.js'

// The exchange between reactors and pool alone, with many threads: nanoseconds of a message, and the operations that more
// cores would queue for. See native/queue_scale.cc.

const usage = `npm run scale -w bench -- [options]
  --messages N    for each pair of threads (400000; counted: a tenth)
  --rounds N      of the timed runs (3)
  --write FILE    fill in the marked parts of this document`

interface Line {
  transferNs?: number
  pushers: number
  takers: number
  givesWay: boolean
  ns: number
  operations: number
  transfers: number
  lost: number
}

function linesOf(program: string, messages: number): Line[] {
  const text = execFileSync(program, ['--messages', String(messages)], { encoding: 'utf8', maxBuffer: 1 << 24 })
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
}

function options(): { messages: number; rounds: number; write: string | undefined } {
  try {
    const text = { type: 'string' } as const
    const { values } = parseArgs({ options: { messages: text, rounds: text, write: text } })
    const messages = Number(values.messages ?? '400000')
    const rounds = Number(values.rounds ?? '3')
    if (!Number.isSafeInteger(messages) || messages < 10_000) throw new Error('--messages is a whole number from 10000 on')
    if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error('--rounds is a whole number from 1 on')
    return { messages, rounds, write: values.write }
  } catch (error) {
    process.stderr.write(`scale: ${(error as Error).message}\n\n${usage}\n`)
    process.exit(2)
  }
}

const { messages, rounds, write } = options()
buildNative('scale')
const timed: Line[][] = []
for (let round = 0; round < rounds; round++) {
  process.stderr.write(`timed: round ${round + 1} of ${rounds}\n`)
  timed.push(linesOf(queueScale, messages))
}
process.stderr.write('counted\n')
const counted = linesOf(queueScaleCounted, Math.max(messages / 10, 1_000))

const transfer = median(timed.flatMap((lines) => lines.flatMap(({ transferNs }) => transferNs ?? [])))
const pairs = counted.filter(({ givesWay }) => !givesWay)
const rows = pairs.map(({ pushers, takers, operations, transfers, lost }) => {
  const same = (line: Line): boolean => line.pushers === pushers && line.takers === takers
  const ns = median(timed.map((lines) => lines.find(same)!.ns))
  const worst = counted.find((line) => same(line) && line.givesWay)!
  return [
    `${pushers} + ${takers}`,
    ns.toFixed(0),
    operations.toFixed(2),
    transfers.toFixed(2),
    lost.toFixed(4),
    worst.operations.toFixed(2),
    worst.transfers.toFixed(2),
    worst.lost.toFixed(3),
    (worst.transfers * transfer).toFixed(0),
  ]
})
const head = [
  'reactors + workers',
  'ns/message',
  'operations',
  'transfers',
  'lost races',
  'operations, giving way',
  'transfers, giving way',
  'lost races, giving way',
  'their ns, if each crosses',
]
const table = `${tableOf([head, ...rows])}\nA cache line crosses from one core to the other in ${transfer.toFixed(0)} ns here, the median of ${rounds}; ${cpus().length} cores.\n`
process.stdout.write(table)
if (write !== undefined) fillDocument(resolve(process.env.INIT_CWD ?? '.', write), { scale: table })
