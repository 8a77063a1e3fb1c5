// Builds the addon and compiles every TypeScript project, as far as they changed.
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { buildNative } from './build-native.mjs'
import { filesBelow, projects, root, run, whenMain } from './lib.mjs'

// The compiler trusts its build info and does not look whether what it wrote is still there.
function forgetLostOutput() {
  const lost = projects.some(({ folder }) => !existsSync(join(root, folder, 'dist')))
  if (lost) rmSync(join(root, '.build'), { recursive: true, force: true })
}

// A compiled test whose source is gone would still run.
function removeOrphans() {
  for (const { folder, source } of projects) {
    const dist = join(root, folder, 'dist')
    if (!existsSync(dist)) continue
    const stems = new Set(
      filesBelow(join(folder, source), (path) => path.endsWith('.ts')).map((path) =>
        path.slice(join(folder, source, '/').length, -'.ts'.length),
      ),
    )
    for (const path of readdirSync(dist, { recursive: true })) {
      const stem = path.match(/^(.*?)(\.d\.ts|\.js)(\.map)?$/)?.[1]
      if (stem !== undefined && !stems.has(stem)) rmSync(join(dist, path))
    }
  }
}

export function build() {
  buildNative()
  forgetLostOutput()
  removeOrphans()
  run('tsc', ['-b'])
}

await whenMain(import.meta.url, build)
