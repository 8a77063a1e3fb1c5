// The packages as they are published, with the addon compiled for it, on every supported Node.
import { installNodes } from './install-nodes.mjs'
import { run, whenMain } from './lib.mjs'
import { prebuild } from './prebuild.mjs'

await whenMain(import.meta.url, () => {
  prebuild()
  const env = { MULTIREACTOR_TEST_NODES: installNodes().join(':'), MULTIREACTOR_TEST_PREBUILDS: '1' }
  run('mocha', ['--timeout', '300000', 'test/dist/packaging/**/*.test.js'], { env })
})
