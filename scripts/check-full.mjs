// The long checks: sanitizers and fuzzing of the C++ code, the suite on every supported Node, the packages as published, storms.
import { join } from 'node:path'
import { installNodes } from './install-nodes.mjs'
import { filesBelow, output, root, run, runQuietly, whenMain } from './lib.mjs'
import { prebuild } from './prebuild.mjs'
import { prepare } from './prepare.mjs'
import { runSteps } from './steps.mjs'
import { sanitizedInNode } from './sanitized-in-node.mjs'

const mocha = join(root, 'node_modules/mocha/bin/mocha.js')
const make = (target) => [`C++ ${target}`, () => run('make', ['--no-print-directory', '-C', 'addon/native', target])]

// Without this Node: `npm test` runs the suite on it. The packages are tested once, for all; examples and bench on the oldest and the
// newest Node, since what they use of it is tested by the rest.
function matrix([, ...others]) {
  return others.map((node, i) => {
    const left = ['packaging', ...(i + 1 < others.length ? ['examples', 'bench'] : [])]
    const ignored = left.flatMap((folder) => ['--ignore', `test/dist/${folder}/**`])
    return [
      `suite on Node ${output(node, ['--version'])}`,
      () => runQuietly(node, [mocha, '--reporter', 'dot', ...ignored, 'test/dist/**/*.test.js']),
    ]
  })
}

const storms = () => {
  const files = filesBelow('test', (path) => path.endsWith('.storm.ts')).map((path) =>
    path.replace(/^test\//, 'test/dist/').replace(/\.ts$/, '.js'),
  )
  // Bounds of time are for a machine of one's own: by hand, without the variable.
  const env = { STORM_SLACK: '4' }
  return files.map((file) => [`storm ${file}`, () => runQuietly('mocha', ['--timeout', '600000', file], { env })])
}

// Its C++ programs drive the addon's rooms by themselves: what changes there must not leave them behind. Numbers are not looked at.
const bench = () => {
  const node = (program, ...args) => run(process.execPath, [join(root, 'bench/dist', program), ...args])
  node('main.js', '--rounds', '1', '--seconds', '0.1', '--warmup', '0.05', '--name', 'check')
  node('scale.js', '--messages', '20000', '--rounds', '1')
  node('costs.js', '--frames', '4000', '--simulated', '1000')
}

await whenMain(import.meta.url, () => {
  prepare()
  const nodes = installNodes()
  runSteps([
    make('asan'),
    make('tsan'),
    ['threads that die, with a sanitized addon in Node', sanitizedInNode],
    make('fuzz'),
    ['prebuild', prebuild],
    [
      'packages as published, on every Node',
      () =>
        run('mocha', ['--timeout', '300000', 'test/dist/packaging/**/*.test.js'], {
          env: { MULTIREACTOR_TEST_NODES: nodes.join(':'), MULTIREACTOR_TEST_PREBUILDS: '1' },
        }),
    ],
    ...matrix(nodes),
    ['bench: one short round of each work, costs and scale', bench],
    ...storms(),
  ])
})
