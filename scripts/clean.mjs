// Removes everything that was built. node_modules stays.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { projects, root } from './lib.mjs'

const built = [
  '.build',
  'packages/multireactor/docs',
  'addon/native/build',
  'addon/native/prebuilds',
  ...projects.map(({ folder }) => `${folder}/dist`),
]
for (const path of built) rmSync(join(root, path), { recursive: true, force: true })
