// The addon compiled with AddressSanitizer and UndefinedBehaviorSanitizer, loaded into Node, while its threads die in the middle of
// load. The C++ tests have no Node and no thread that ends in the middle of a call into JavaScript: here both are real.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { output, root, run, StepFailed, whenMain } from './lib.mjs'
import { prepare } from './prepare.mjs'

const storms = ['test/dist/storms/dying_threads.storm.js']
// CXX may be a compiler behind a cache: two words.
const compiler = (process.env.CXX ?? 'g++').split(' ')
const library = (name) => output(compiler[0], [...compiler.slice(1), `-print-file-name=${name}`])
/** So near to the allocation a frame of ours makes the leak ours: further down, everything that JavaScript calls has one of Node's. */
const nearFrames = 4
/** A frame without a line in our sources has the file of the addon. */
const ours = /\bsrc\/(?:base|net|codec|exchange|worker|reactor|bindings)\/|multireactor\.node/

/**
 * The leaks that our own code has allocated. Node and V8 do not free their memory when a process exits, nor all that a thread had
 * which was ended; a suppression would match each stack that begins in Node, and so hide every leak of ours.
 */
function ownLeaks(report) {
  return report.split(/\n(?=(?:Direct|Indirect) leak of )/).filter((block) => {
    const frames = block.split('\n').filter((line) => /^\s*#\d/.test(line))
    return /^(Direct|Indirect) leak of /.test(block) && frames.slice(0, nearFrames).some((line) => ours.test(line))
  })
}

export function sanitizedInNode() {
  run('make', ['--no-print-directory', '-C', 'addon/native', 'node-asan'])
  const logs = mkdtempSync(join(tmpdir(), 'mr-asan-'))
  const server = {
    // Node has its C++ library linked in; the sanitizer has to know the one that the addon uses from the start, for its exceptions.
    LD_PRELOAD: ['libasan.so', 'libstdc++.so.6'].map(library).join(':'),
    NODE_OPTIONS: `--require ${join(root, 'test/support/other_addon.cjs')}`,
    MULTIREACTOR_TEST_ADDON: join(root, 'addon/native/build-test/node-asan/multireactor.node'),
    ASAN_OPTIONS: `detect_leaks=1:detect_stack_use_after_return=0:exitcode=99:log_path=${join(logs, 'report')}`,
    LSAN_OPTIONS: 'exitcode=0',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  }
  try {
    const reports = () => readdirSync(logs).map((name) => readFileSync(join(logs, name), 'utf8'))
    try {
      // Not for mocha itself, which loads no addon: for the servers that it starts.
      run('mocha', ['--timeout', '600000', ...storms], { env: { STORM_SANITIZER: JSON.stringify(server) } })
    } catch (error) {
      for (const report of reports()) console.error(report.slice(0, 20_000))
      throw error
    }
    // Each server writes one when it exits, if only about Node's memory: without a report, the check has not run.
    if (reports().length === 0) throw new StepFailed('no server has looked for leaks')
    const leaks = reports().flatMap(ownLeaks)
    if (leaks.length > 0) throw new StepFailed(`leaks of the addon:\n${leaks.slice(0, 10).join('\n')}`)
  } finally {
    rmSync(logs, { recursive: true })
  }
}

await whenMain(import.meta.url, () => {
  prepare()
  sanitizedInNode()
})
