import { lines, Reactor } from '@multireactor/reactor'

// A chat room on this thread: every line goes to all other clients.
const reactor = new Reactor()
const room = new Set()

const { port } = await reactor.listen(
  { port: Number(process.env.PORT ?? 7000) },
  {
    framing: lines({ maxBytes: 1024 }),
    open(conn) {
      room.add(conn)
      conn.write(`welcome, you are one of ${room.size}\n`)
    },
    message(conn, line) {
      for (const other of room) if (other !== conn && !other.destroyed) other.write(`${line}\n`)
    },
    close(conn) {
      room.delete(conn)
    },
  },
)
// Before anything is printed: a process that reads the line may send a signal at once. A second one has its default action.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => reactor.close())

console.log(`listening on port ${port}`)
