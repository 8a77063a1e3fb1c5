import { defineApp, lines } from 'multireactor'
import { readReading } from './reading.ts'
import { Writer } from './writer.ts'

const { DB = 'ingest.db', BUSY_MS = '1000' } = process.env

let writer: Writer | undefined

export default defineApp({
  framing: lines({ maxBytes: 4096 }),
  // Readings of one connection that wait for their commit. Beyond them it is not read.
  maxInFlight: 1_000,

  start({ role }) {
    // The one worker of main.js writes: SQLite has one writer at a time. A database that cannot be opened ends the start.
    if (role === 'worker') writer = new Writer(DB, Number(BUSY_MS))
  },

  // Answered in the order of the lines, when the reading is stored.
  async parse(line) {
    const reading = readReading(line.toString(), Date.now())
    if (typeof reading === 'string') return `error ${reading}\n`
    try {
      await writer!.add(reading)
      return 'ok\n'
    } catch {
      return 'error not stored, send it again\n'
    }
  },

  stop() {
    writer?.close()
  },
})
