// Builds the addon and compiles every TypeScript project, as far as they changed.
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { buildNative } from './build-native.mjs'
import { packageDocs } from './package-docs.mjs'
import { filesBelow, projects, root, run, whenMain } from './lib.mjs'

// The compiler trusts its build info and does not check whether its output still exists.
function forgetLostOutput(wanted) {
  const lost = wanted.some(({ folder }) => !existsSync(join(root, folder, 'dist')))
  if (lost) rmSync(join(root, '.build'), { recursive: true, force: true })
}

// A compiled test whose source is gone would still run. The bundles have names of their own, and see to that themselves.
function removeOrphans() {
  for (const { folder, source, threads } of projects) {
    const dist = join(root, folder, 'dist')
    if (!existsSync(dist)) continue
    const stems = new Set(
      filesBelow(join(folder, source), (path) => path.endsWith('.ts')).map((path) =>
        path.slice(join(folder, source, '/').length, -'.ts'.length),
      ),
    )
    for (const path of readdirSync(dist, { recursive: true })) {
      const stem = path.match(threads ? /^(.*?)\.d\.ts(\.map)?$/ : /^(.*?)(\.d\.ts|\.js)(\.map)?$/)?.[1]
      if (stem !== undefined && !stems.has(stem)) rmSync(join(dist, path))
    }
  }
}

/** The packages that users install, without tests and bench. */
const packages = projects.filter(({ threads }) => threads)

/** `quick`: only the parts that `npm start` needs. */
export function build({ quick = false, tell = () => {} } = {}) {
  tell('compiling the addon')
  buildNative({ unity: quick })
  tell('compiling TypeScript')
  forgetLostOutput(quick ? packages : projects)
  removeOrphans()
  run('tsc', ['-b', ...(quick ? packages.map(({ folder }) => folder) : [])])
  tell('bundling')
  packageDocs()
  // In a process of its own: the one that builds may go on as a server.
  run(process.execPath, ['scripts/bundle.mjs'])
}

await whenMain(import.meta.url, () => build())
