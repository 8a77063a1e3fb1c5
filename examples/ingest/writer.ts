import { type Database, openDatabase, type Statement } from './database.js'
import type { Reading } from './reading.ts'

interface Waiting {
  reading: Reading
  resolve(): void
  reject(error: unknown): void
}

const mostBatch = 2_000
const everyMs = 10

/** Stores readings in batches, one transaction each: a commit costs the same for one reading and for two thousand. */
export class Writer {
  readonly #database: Database
  readonly #insert: Statement
  #waiting: Waiting[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(path: string, busyMs: number) {
    this.#database = openDatabase(path, busyMs)
    // One that was sent again, because its answer was lost, is there already.
    this.#insert = this.#database.prepare(
      'insert into readings (id, name, value, at) values (?, ?, ?, ?) on conflict (id) do nothing',
    )
  }

  /** Resolves when the reading has been committed; rejects when its batch has not, and then nothing of the batch is stored. */
  add(reading: Reading): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ reading, resolve, reject })
      if (this.#waiting.length >= mostBatch) this.#flush()
      else this.#timer ??= setTimeout(() => this.#flush(), everyMs)
    })
  }

  close(): void {
    this.#flush()
    this.#database.close()
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const batch = this.#waiting
    if (batch.length === 0) return
    this.#waiting = []
    try {
      this.#database.exec('begin immediate')
      for (const { id, name, value, at } of batch.map(({ reading }) => reading)) this.#insert.run(id, name, value, at)
      this.#database.exec('commit')
    } catch (error) {
      this.#rollBack()
      console.error(`ingest: ${batch.length} readings are not stored: ${(error as Error).message}`)
      for (const { reject } of batch) reject(error)
      return
    }
    for (const { resolve } of batch) resolve()
  }

  /** Some errors, a full disk among them, have rolled back already. */
  #rollBack(): void {
    try {
      this.#database.exec('rollback')
    } catch {
      // There is no transaction any more.
    }
  }
}
