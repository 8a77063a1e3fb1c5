import { defineApp, raw } from '@multireactor/core'

export default defineApp({
  framing: raw(),
  message(conn, chunk) {
    conn.write(chunk)
  },
})
