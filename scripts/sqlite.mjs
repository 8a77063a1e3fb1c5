// SQLite for the example ingest, where Node has none of its own. The install script of better-sqlite3 does not run (`allowScripts`), since a
// user that only starts a server from a clone should not wait until it is compiled. A compiled build stays in .cache: `npm ci` empties
// node_modules.
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { headerOptions } from './build-native.mjs'
import { output, root, run, whenMain } from './lib.mjs'

const folder = join(root, 'node_modules/better-sqlite3')
const built = join(folder, 'build/Release/better_sqlite3.node')

function cached() {
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  return join(root, '.cache/better-sqlite3', `${version}-${process.versions.modules}-${process.arch}.node`)
}

function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true })
  copyFileSync(from, to)
}

/** Puts back the build from before an installation. */
export function restoreSqlite() {
  if (existsSync(folder) && !existsSync(built) && existsSync(cached())) copy(cached(), built)
}

function buildSqlite() {
  restoreSqlite()
  if (!existsSync(folder) || existsSync(built)) return
  // A module that the oldest supported line does not have.
  if (output(process.execPath, ['-e', 'require("node:sqlite")']) !== undefined) return
  const found = output('sh', ['-c', `cd '${folder}' && ../.bin/prebuild-install`]) !== undefined && existsSync(built)
  if (!found) run('node-gyp', ['rebuild', '--release', ...headerOptions()], { cwd: folder })
  copy(built, cached())
}

await whenMain(import.meta.url, buildSqlite)
