// Installs and builds everything that is out of date. Runs on a fresh clone, before anything is installed.
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { root, run, whenMain } from './lib.mjs'
import { restoreSqlite } from './sqlite.mjs'

// npm writes this copy of the lockfile as the last step of an installation.
const installed = 'node_modules/.package-lock.json'

function changedAt(path) {
  return statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0
}

/** `quick`: only the parts that `npm start` needs, reported step by step. */
export function prepare({ quick = false } = {}) {
  const begun = performance.now()
  const tell = (step) => quick && console.log(`[${((performance.now() - begun) / 1000).toFixed(1)} s] ${step} …`)
  if (changedAt(installed) < changedAt('package-lock.json')) {
    tell('installing packages')
    run('npm', ['ci', '--no-audit', '--no-fund'])
    restoreSqlite()
  }
  build({ quick, tell })
  tell('starting')
}

await whenMain(import.meta.url, () => prepare())
