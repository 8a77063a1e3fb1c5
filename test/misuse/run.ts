import { fork } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Sequences for each process, and so for each server. */
const each = 1_000
/** For a process that hangs. */
const mostMs = 400_000

export interface Failure {
  sequence: number
  what: string
}

interface Outcome {
  failures: Failure[]
  /** Sequences that had begun and not ended when the process was gone. */
  unfinished: number[]
  calls: string[]
  /** The log of a sequence. */
  trails: Map<number, string[]>
}

/** Lines of the log that are printed for one sequence that fails. */
const mostLines = 300

/** Runs the sequences in a process of its own, and gathers its reports. */
async function runProcess(seed: number, first: number, last: number, env: Record<string, string> = {}): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'misuse-'))
  const log = join(folder, 'log')
  writeFileSync(log, '')
  try {
    const child = fork(new URL('./thousand.js', import.meta.url), [String(first), String(last)], {
      execArgv: ['--enable-source-maps'],
      env: {
        ...process.env,
        MISUSE_SEED: String(seed),
        MISUSE_LOG: log,
        MISUSE_VARIANT: process.env['MISUSE_VARIANT'] ?? String((seed + Math.floor(first / each)) % 8),
        ...env,
      },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    let printed = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      printed = (printed + text).slice(-8_000)
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), mostMs)
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
    clearTimeout(timer)
    const rows = readFileSync(log, 'utf8')
      .split('\n')
      .map((line) => /^(\w+) (-?\d+) (.*)$/.exec(line))
    const of = (word: string) =>
      rows.filter((row) => row?.[1] === word).map((row) => ({ sequence: Number(row![2]), what: row![3]! }))
    const ended = new Set(of('end').map(({ sequence }) => sequence))
    const failures = of('wrong')
    if (code !== 0 || signal !== null || of('done').length === 0)
      failures.push({ sequence: -1, what: `the process ended: ${signal ?? code}: ${printed}` })
    const keep = process.env['MISUSE_KEEP']
    if (keep && failures.length > 0) copyFileSync(log, join(keep, `misuse-${seed}-${first}.log`))
    const trails = new Map<number, string[]>()
    for (const { sequence } of failures) {
      if (trails.has(sequence) || trails.size >= 8) continue
      const lines = rows.flatMap((row) =>
        row && Number(row[2]) === sequence && row[1] !== 'wrong' ? [`${row[1]} ${row[3]}`] : [],
      )
      trails.set(sequence, sequence < 0 ? lines.filter((line) => line.startsWith('state ')) : lines.slice(-mostLines))
    }
    return {
      failures,
      trails,
      unfinished: of('begin').flatMap(({ sequence }) => (ended.has(sequence) ? [] : [sequence])),
      calls: of('call').map(({ what }) => what),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The fewest calls of one sequence with which it still fails. */
async function shrink(seed: number, sequence: number): Promise<string[] | undefined> {
  const run = (env: Record<string, string>) => runProcess(seed, sequence, sequence + 1, env)
  const whole = await run({})
  if (whole.failures.length === 0) return undefined
  const keyOf = (call: string) => call.split(' ')[0]!
  let keys = [...new Set(whole.calls.map(keyOf))].filter((key) => key.startsWith(`${sequence}:`))
  for (let part = Math.ceil(keys.length / 2); part >= 1 && keys.length > 1; part = part === 1 ? 0 : Math.ceil(part / 2)) {
    for (let at = 0; at < keys.length; ) {
      const rest = [...keys.slice(0, at), ...keys.slice(at + part)]
      if ((await run({ MISUSE_ONLY: rest.join(',') })).failures.length > 0) keys = rest
      else at += part
    }
  }
  const last = await run({ MISUSE_ONLY: keys.join(',') })
  return [...last.calls, ...last.failures.map(({ what }) => `fails: ${what}`)]
}

/** Runs so many sequences. Tells of each thousand, and of each failure with the command that repeats it. */
export async function runSequences(seed: number, count: number, say: (line: string) => void, first = 0): Promise<Failure[]> {
  const failures: Failure[] = []
  for (let from = first; from < first + count; from += each) {
    const to = Math.min(first + count, from + each)
    const began = performance.now()
    const { failures: now, unfinished, trails } = await runProcess(seed, from, to)
    failures.push(...now)
    say(`    sequences ${from} to ${to - 1}: ${now.length} failures, ${Math.round((performance.now() - began) / 1_000)} s`)
    for (const { sequence, what } of now) say(`      sequence ${sequence}: ${what}`)
    for (const [sequence, lines] of trails) for (const line of lines) say(`        ${sequence}: ${line}`)
    if (unfinished.length > 0) say(`      not ended: ${unfinished.join(', ')}`)
  }
  return failures
}

// node test/dist/misuse/run.js [sequences, 50000] [seed] [first sequence]; node test/dist/misuse/run.js shrink <seed> <sequence>
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2)
  if (args[0] === 'shrink') {
    const steps = await shrink(Number(args[1]), Number(args[2]))
    console.log(steps ? steps.join('\n') : 'alone, this sequence does not fail')
  } else {
    const seed = Number(args[1] ?? process.env['STORM_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
    console.log(`    STORM_SEED=${seed}`)
    const failures = await runSequences(seed, Number(args[0] ?? 50_000), console.log, Number(args[2] ?? 0))
    console.log(`    ${failures.length} failures`)
    process.exitCode = failures.length === 0 ? 0 : 1
  }
}
