import { createRequire } from 'node:module'

/**
 * The part of SQLite that this example uses: `node:sqlite`, and better-sqlite3 where Node does not have it yet, have it in common.
 * @typedef {{ run(...values: (string | number)[]): unknown, all(): unknown[] }} Statement
 * @typedef {{ exec(sql: string): void, prepare(sql: string): Statement, close(): void }} Database
 */

const load = createRequire(import.meta.url)

/**
 * The database, with its table. Throws when it cannot be opened or written.
 * @param {string} path
 * @param {number} busyMs how long a write waits for another process that has the database locked
 * @returns {Database}
 */
export function openDatabase(path, busyMs) {
  const database = open(path)
  // WAL: others read while we write. NORMAL: a transaction that was committed survives a crash of the process; FULL: one of the machine, too.
  database.exec(`pragma busy_timeout = ${busyMs}`)
  database.exec('pragma journal_mode = wal')
  database.exec('pragma synchronous = normal')
  database.exec(
    'create table if not exists readings (id text primary key, name text not null, value real not null, at integer not null)',
  )
  return database
}

/** @param {string} path @returns {Database} */
function open(path) {
  try {
    const { DatabaseSync } = load('node:sqlite')
    return new DatabaseSync(path)
  } catch (error) {
    if (/** @type {{ code?: string }} */ (error).code !== 'ERR_UNKNOWN_BUILTIN_MODULE') throw error
  }
  const BetterSqlite = load('better-sqlite3')
  try {
    return new BetterSqlite(path)
  } catch (cause) {
    if (!String(/** @type {Error} */ (cause).message).startsWith('Could not locate the bindings file')) throw cause
    throw new Error(
      'better-sqlite3 is not compiled: in a clone run `node ../../scripts/sqlite.mjs` once, elsewhere see README.md',
      { cause },
    )
  }
}
