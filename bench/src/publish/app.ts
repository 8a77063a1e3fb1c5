// "s" makes a connection a subscriber, "p" sends all subscribers the message: by a publication, or by a plain write for each.
import { type Connection, defineApp, lines, type ServerHandle } from '@multireactor/core'

const message = Buffer.alloc(Number(process.env.BYTES), 'm')
const reactors = Number(process.env.REACTORS)
const publishes = process.env.HOW === 'publish'
const subscribers = new Set<Connection<undefined>>()
let server: ServerHandle

export default defineApp({
  framing: lines(),
  start(context) {
    server = context.server
  },
  message(conn, line) {
    if (line[0] === 0x73) {
      if (publishes) conn.subscribe('all')
      else subscribers.add(conn)
      conn.write('s')
    } else if (publishes) {
      void server.publish('all', message)
    } else {
      for (let reactor = 0; reactor < reactors; reactor++) void server.call(reactor, '')
    }
  },
  onCall() {
    for (const conn of subscribers) conn.write(message)
  },
  close(conn) {
    subscribers.delete(conn)
  },
})
