import { defineApp, raw } from 'multireactor'

// Inline: no pool. The hooks run on the reactor that owns the connection, so they must be quick.
export default defineApp({
  framing: raw(),
  open() {
    return { seen: 0 } // becomes conn.data, and its type is known below
  },
  message(conn, chunk) {
    conn.data.seen += chunk.length
    conn.write(chunk)
  },
  close(conn, reason) {
    console.log(`echoed ${conn.data.seen} bytes (${reason})`)
  },
})
