// One short round of everything in bench. Its C++ programs drive the addon's rooms by themselves: a change there must not leave
// them behind. Numbers are not looked at.
import { join } from 'node:path'
import { root, run, whenMain } from './lib.mjs'

await whenMain(import.meta.url, () => {
  const node = (program, ...args) => run(process.execPath, [join(root, 'bench/dist', program), ...args])
  node('main.js', '--rounds', '1', '--seconds', '0.1', '--warmup', '0.05', '--name', 'check')
  node('scale.js', '--messages', '20000', '--rounds', '1')
  node('costs.js', '--frames', '4000', '--simulated', '1000')
})
