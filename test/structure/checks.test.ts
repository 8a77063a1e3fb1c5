import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

interface Step {
  name: string
  seconds: number
  command: string[]
}

interface Streams {
  stdout: Writable
  stderr: Writable
}

const root = fileURLToPath(new URL('../../../', import.meta.url))
const script = (path: string) => import(join(root, 'scripts', path))
const { tests, quick, shards, shardCount, nodeLines, mostSeconds, budgetOf } = (await script('checks/table.mjs')) as {
  tests: Step[]
  quick: Step[]
  shards: Step[][]
  shardCount: number
  nodeLines: number[]
  mostSeconds: number
  budgetOf(...checks: Step[][]): number
}
const { shardOf, countCommits } = (await script('checks/shard.mjs')) as {
  shardOf(when: { commits: number | undefined; nowMs: number }): number
  countCommits(folder: string): number | undefined
}
const { runStep } = (await script('steps.mjs')) as {
  runStep(step: Step, options: { to: Streams; goneWithinMs?: number; over?: AbortSignal }): Promise<void>
}

const sharded = [...new Set(shards.flat())]

function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith(ending) && !/(^|\/)(dist|node_modules)\//.test(path))
    .map((path) => path.slice(0, -ending.length))
    .sort()
}

/** The subjects of the rows of scripts/checks/table.mjs with this first word, sorted. */
const rows = (word: string) =>
  sharded.flatMap(({ name }) => (name.startsWith(`${word} `) ? [name.slice(word.length + 1)] : [])).sort()

describe('the table of checks', () => {
  it('has one row for every storm', () => {
    expect(rows('storm'), 'storms in scripts/checks/table.mjs').to.deep.equal(filesBelow('test', '.storm.ts'))
  })

  it('has one row for every fuzz target', () => {
    expect(rows('fuzz'), 'fuzz targets in scripts/checks/table.mjs').to.deep.equal(
      filesBelow('addon/native/test/fuzz', '_fuzz.cc'),
    )
  })

  it('has one row for every sanitizer', () => {
    const makefile = readFileSync(join(root, 'addon/native/Makefile'), 'utf8')
    const variants = [...makefile.matchAll(/^flags_(\S+) :=/gm)].map(([, variant]) => variant!)
    expect(variants).to.include.members(['asan', 'tsan', 'node-asan'])
    const names = ({ command }: Step, variant: string) =>
      command.some(
        (word) => word === variant || (word.endsWith('.mjs') && readFileSync(join(root, word), 'utf8').includes(`'${variant}'`)),
      )
    for (const variant of variants) {
      if (variant === 'test' || variant === 'fuzz') continue
      expect(
        sharded.filter((step) => names(step, variant)),
        variant,
      ).to.have.length(1)
    }
  })

  it('has one row for every Node line beside the one of npm test', () => {
    expect(new Set(nodeLines).size).to.equal(nodeLines.length)
    expect(rows('suite')).to.deep.equal(nodeLines.map((line) => `on Node ${line}`))
  })

  it('names every step once, with a budget', () => {
    for (const steps of [tests, quick, sharded]) {
      expect(steps.length).to.be.above(2)
      expect(new Set(steps.map(({ name }) => name)).size).to.equal(steps.length)
      for (const { name, seconds } of steps) expect(seconds, name).to.be.within(1, mostSeconds)
    }
  })

  it('keeps npm test, npm run check and any one shard within the time that CI has', () => {
    expect(mostSeconds).to.be.at.most(80 * 60)
    expect(shards).to.have.length(shardCount)
    for (const [i, shard] of shards.entries()) {
      expect(shard, `shard ${i}`).to.have.length.above(1)
      expect(budgetOf(tests, quick, shard), `budgets with shard ${i}`).to.be.at.most(mostSeconds)
    }
  })
})

describe('the choice of a shard', () => {
  it('runs the next shard with the next commit', () => {
    const chosen = Array.from({ length: shardCount }, (_, i) => shardOf({ commits: 1_000 + i, nowMs: 5 }))
    expect(chosen).to.deep.equal([0, 1, 2, 3, 4])
  })

  it('runs the next shard with the next day where commits cannot be counted', () => {
    const day = (i: number) => shardOf({ commits: undefined, nowMs: (20_000 + i) * 86_400_000 + 12_345_678 })
    expect([0, 1, 2, 3, 4, 5].map(day)).to.deep.equal([0, 1, 2, 3, 4, 0])
  })

  describe('counts commits', () => {
    let folder: string
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'commits-'))
      const git = (...args: string[]) => execFileSync('git', args, { cwd: folder, stdio: 'ignore' })
      git('init', 'whole')
      for (const name of ['first', 'second', 'third']) {
        const author = ['-c', 'user.name=name', '-c', 'user.email=name@localhost', '-c', 'commit.gpgsign=false']
        git('-C', 'whole', ...author, 'commit', '--allow-empty', '-m', name)
      }
      git('clone', '--depth', '1', `file://${join(folder, 'whole')}`, 'shallow')
    })
    after(() => {
      rmSync(folder, { recursive: true })
    })

    it('of a whole clone', () => {
      expect(countCommits(join(folder, 'whole'))).to.equal(3)
    })

    it('not of a shallow clone, nor where there is no repository', () => {
      expect(countCommits(join(folder, 'shallow'))).to.equal(undefined)
      expect(countCommits(folder)).to.equal(undefined)
    })
  })
})

describe('a step of a check', () => {
  const node = (source: string) => [process.execPath, '-e', source]
  /** Outlives its parent, in a session of its own and with its output elsewhere, and prints its id. */
  const stray = `
    const { pid } = require('node:child_process').spawn('sleep', ['100'], { detached: true, stdio: 'ignore' })
    console.log('sleeps as ' + pid)`

  /** Runs a step whose output is kept, and gives the output and the failure. */
  async function run(step: Step, options: { goneWithinMs?: number; over?: AbortController; overAfter?: RegExp } = {}) {
    let output = ''
    const keep = () =>
      new Writable({
        write(chunk, _encoding, done) {
          output += chunk
          if (options.overAfter?.test(output)) options.over!.abort()
          done()
        },
      })
    const to = { stdout: keep(), stderr: keep() }
    const { goneWithinMs, over } = options
    const failure = await runStep(step, {
      to,
      ...(goneWithinMs !== undefined && { goneWithinMs }),
      ...(over && { over: over.signal }),
    }).then(
      () => undefined,
      (error: Error) => error.message,
    )
    return { output, failure, pid: Number(/sleeps as (\d+)/.exec(output)?.[1]) }
  }

  /** An ended process that its parent has not collected has no command line any more. */
  const runs = (pid: number) => existsSync(`/proc/${pid}`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== ''

  it('passes with what it prints, and fails with its exit code', async () => {
    const good = await run({ name: 'good', seconds: 50, command: node('console.log("well")') })
    expect(good).to.include({ output: 'well\n', failure: undefined })
    const bad = await run({ name: 'bad', seconds: 50, command: node('process.exit(3)') })
    expect(bad.failure).to.include('exit code 3')
    const none = await run({ name: 'none', seconds: 50, command: ['no-such-program'] })
    expect(none.failure).to.include('no-such-program')
  })

  it('is ended with everything it has started when its budget is used up', async () => {
    const { failure, pid } = await run(
      { name: 'a step that hangs', seconds: 50, command: node(`${stray}\nsetInterval(() => {}, 1_000)`) },
      { over: new AbortController(), overAfter: /sleeps as/ },
    )
    expect(failure).to.include('a step that hangs: exceeded its budget of 50 s').and.include(`sleeps as ${pid}`)
    expect(runs(pid)).to.equal(false)
  })

  it('is ended by its budget, whatever it prints', async () => {
    const { failure } = await run({ name: 'a sleeper', seconds: 0.05, command: ['sleep', '100'] })
    expect(failure).to.include('a sleeper: exceeded its budget of 0.05 s')
  })

  it('fails when it leaves a process behind, which is ended', async () => {
    const { failure, pid } = await run(
      { name: 'a careless step', seconds: 50, command: node(`${stray}\nprocess.exit()`) },
      { goneWithinMs: 60 },
    )
    expect(failure).to.include('a careless step: left 1 processes behind').and.include(`${pid} sleep 100`)
    expect(runs(pid)).to.equal(false)
  })
})
