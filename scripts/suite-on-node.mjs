// The suite on another line of Node, whose number is the argument.
import { join } from 'node:path'
import { nodeLines, parallel } from './checks/table.mjs'
import { installNode } from './install-nodes.mjs'
import { output, root, run, whenMain } from './lib.mjs'

const mocha = join(root, 'node_modules/mocha/bin/mocha.js')

await whenMain(import.meta.url, () => {
  const line = Number(process.argv[2])
  const node = installNode(line)
  console.log(output(node, ['--version']))
  // The packages are tried on every Node by packages-on-nodes.mjs; the Node features of examples and bench between the oldest and the newest
  // line are covered by the rest of the suite.
  const left = ['packaging', ...(line === Math.max(...nodeLines) ? [] : ['examples', 'bench'])]
  const ignored = left.flatMap((folder) => ['--ignore', `test/dist/${folder}/**`])
  run(node, [mocha, '--reporter', 'dot', ...parallel, ...ignored, 'test/dist/**/*.test.js'])
})
