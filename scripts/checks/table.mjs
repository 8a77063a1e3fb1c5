// Every check of the repository and its budget in seconds. A step that exceeds its budget is ended with all its processes, and fails.
// A budget is some three times the step's duration on a quiet machine with two cores and an empty compiler cache.
//
//   tests    npm test
//   quick    npm run check
//   shards   npm run check:full runs one of them, npm run check:all all five
//
// A new *.storm.ts, fuzz target or sanitizer needs one row below; test/structure/checks.test.ts names those without one.
import { projects } from '../lib.mjs'

/**
 * The sums of budgets: npm test, npm run check and the largest shard have to end within this, even if a step hangs. CI ends a run after 90
 * minutes.
 */
export const mostSeconds = 80 * 60

export const shardCount = 5

const node = (script, ...args) => [process.execPath, `scripts/${script}`, ...args]
const make = (...args) => ['make', '--no-print-directory', '-C', 'addon/native', ...args]

/** Two files at once, each of them in a process that runs no other file meanwhile. */
export const parallel = ['--parallel', '--jobs', '2']

/** Nothing after it can run without it. Where npm test has gone before, there is nothing left to do. */
const install = { name: 'install and build', seconds: 500, command: node('prepare.mjs'), needed: true }

export const tests = [
  install,
  { name: 'tools', seconds: 340, command: ['bash', 'scripts/setup-tools.sh'], needed: true },
  { name: 'C++ tests', seconds: 600, command: make('test') },
  { name: 'suite', seconds: 600, command: ['mocha', ...parallel, 'test/dist/**/*.test.js'], takesArguments: true },
]

export const quick = [
  install,
  { name: 'format', seconds: 60, command: node('format.mjs') },
  { name: 'lint', seconds: 60, command: ['npm', 'run', '--silent', 'lint'] },
  { name: 'types', seconds: 60, command: ['tsc', '-b'] },
  { name: 'arrows', seconds: 30, command: node('check-arrows.mjs') },
  ...projects
    .filter(({ folder }) => !['bench', 'test'].includes(folder))
    .map(({ folder }) => ({
      name: `package ${folder}`,
      seconds: 40,
      command: ['publint', 'run', folder, '--strict', '--pack', 'npm'],
    })),
]

/** Below test/, without .storm.ts: budget, shard. */
const storms = [
  ['faults/faults', 120, 4],
  ['memory/formula', 180, 0],
  ['soak/soak', 400, 3],
  ['storms/api_misuse', 300, 3],
  ['storms/connections', 90, 4],
  ['storms/crash_loops', 400, 1],
  ['storms/drain', 60, 4],
  ['storms/dying_reactors', 300, 4],
  ['storms/dying_threads', 200, 2],
  ['storms/dying_workers', 90, 2],
  ['storms/fragments', 60, 1],
  ['storms/full_queue', 60, 0],
  ['storms/half_close', 240, 4],
  ['storms/hostile_frames', 150, 1],
  ['storms/hostile_mix', 240, 0],
  ['storms/large_replies', 200, 3],
  ['storms/misuse', 150, 1],
  ['storms/pairs', 240, 2],
  ['storms/parse_failures', 120, 2],
  ['storms/pipelined', 90, 2],
  ['storms/reload_resize', 400, 4],
  ['storms/resets', 60, 3],
  ['storms/reused_slots', 60, 3],
  ['storms/slow_readers', 200, 0],
  ['storms/slowloris', 60, 3],
  ['storms/starts', 90, 3],
  ['storms/stopped_process', 90, 3],
].map(([path, seconds, shard]) => ({
  name: `storm ${path}`,
  seconds,
  shard,
  command: ['mocha', '--timeout', '600000', `test/dist/${path}.storm.js`],
}))

/** In addon/native/test/fuzz, without _fuzz.cc. The first one of a shard compiles the codecs for the others. */
const fuzzTargets = [
  ['delimiter', 300, 4],
  ['fixed', 60, 4],
  ['http1', 60, 4],
  ['length_prefixed', 60, 4],
  ['mqtt', 60, 4],
  ['proxy_header', 60, 4],
  ['resp', 60, 4],
  ['websocket', 60, 4],
].map(([target, seconds, shard]) => ({ name: `fuzz ${target}`, seconds, shard, command: make('fuzz', `TARGET=${target}`) }))

/** The Node lines beside the one that npm test runs on. The published packages are tried on all of them at once. */
const nodes = [
  [22, 600, 0],
  [24, 600, 1],
  [26, 600, 2],
].map(([line, seconds, shard]) => ({
  name: `suite on Node ${line}`,
  seconds,
  shard,
  line,
  command: node('suite-on-node.mjs', String(line)),
}))

export const nodeLines = nodes.map(({ line }) => line)

const sanitizers = [
  { name: 'C++ asan', seconds: 900, shard: 0, command: make('asan') },
  { name: 'C++ tsan', seconds: 900, shard: 1, command: make('tsan') },
  {
    name: 'threads that die, with a sanitized addon in Node',
    seconds: 900,
    shard: 2,
    command: node('sanitized-in-node.mjs'),
  },
]

const others = [
  { name: 'packages as published, on every Node', seconds: 1000, shard: 3, command: node('packages-on-nodes.mjs') },
  { name: 'bench: one short round of each work, costs and scale', seconds: 300, shard: 4, command: node('bench-once.mjs') },
]

const sharded = [...sanitizers, ...nodes, ...others, ...fuzzTargets, ...storms]

export const shards = Array.from({ length: shardCount }, (_, i) => [install, ...sharded.filter(({ shard }) => shard === i)])

/** The most seconds that checks take one after the other. Installation and build are done only once. */
export const budgetOf = (...checks) => [...new Set(checks.flat())].reduce((sum, { seconds }) => sum + seconds, 0)
