// Makes addon/native/prebuilds for this platform, as it is published, and checks which C library it asks for.
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { buildNative, headerOptions } from './build-native.mjs'
import { checkSymbols } from './check-symbols.mjs'
import { root, run, whenMain } from './lib.mjs'

export function prebuild() {
  const folder = join(root, 'addon/native/prebuilds')
  rmSync(folder, { recursive: true, force: true })
  const [nodedir] = headerOptions()
  const env = { npm_config_jobs: '2', ...(nodedir && { npm_config_nodedir: nodedir.slice('--nodedir='.length) }) }
  run('prebuildify', ['--napi', '--strip', '--tag-libc', '--name', 'multireactor', '--cwd', 'native'], {
    cwd: join(root, 'addon'),
    env,
  })
  for (const path of readdirSync(folder, { recursive: true })) {
    if (path.endsWith('.node')) checkSymbols(join(folder, path))
  }
  // prebuildify builds in the same folder and leaves it without the development build.
  buildNative()
}

await whenMain(import.meta.url, prebuild)
