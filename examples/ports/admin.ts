import { defineApp, lines } from 'multireactor'

// The app of the admin listener alone.
export default defineApp({
  framing: lines({ maxBytes: 256 }),
  message(conn, line) {
    switch (line.toString()) {
      case 'ping':
        conn.write('pong\n')
        break
      case 'uptime':
        conn.write(`${Math.floor(process.uptime())} s\n`)
        break
      case 'quit':
        conn.end('bye\n')
        break
      default:
        conn.write('commands: ping, uptime, quit\n')
    }
  },
})
