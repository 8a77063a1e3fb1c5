import { type Connection, defineApp, lines, type ServerHandle } from 'multireactor'
import { readCommand } from './commands.ts'
import { type Player, Room } from './room.ts'

/** The state that travels with a connection, to the reactor of its room and to the next thread at a reload. */
interface State {
  room?: string
  player?: Player
}
type Conn = Connection<State>

const tickMs = 50
const mostPlayers = 64
const mostRooms = 1_000

// The rooms of this reactor's thread.
const rooms = new Map<string, Room>()
let server: ServerHandle
let reactor = -1
let ticks: NodeJS.Timeout | undefined

export default defineApp<State>({
  framing: lines({ maxBytes: 512 }),
  // Closes the connection of a player who has been silent for this long.
  idleTimeoutMs: 300_000,

  start(context) {
    server = context.server
    reactor = context.role === 'reactor' ? context.index : -1
  },

  open: () => ({}),

  message(conn, line) {
    const command = readCommand(line.toString())
    if (typeof command === 'string') return tell(conn, { type: 'error', message: command })
    const { room, player } = conn.data
    if (command.type === 'join') {
      if (room !== undefined) return tell(conn, { type: 'error', message: 'leave first' })
      conn.data = { room: command.room, player: { name: command.name, x: 0, y: 0, dx: 0, dy: 0 } }
      joinAtHome(conn, command.room)
    } else if (player === undefined) {
      tell(conn, { type: 'error', message: 'join first' })
    } else if (command.type === 'go') {
      // However many come between two ticks, the last one counts.
      player.dx = command.dx
      player.dy = command.dy
    } else {
      leave(conn)
      tell(conn, { type: 'left' })
    }
  },

  drain(conn) {
    if (conn.data.room !== undefined) rooms.get(conn.data.room)?.drained(conn)
  },

  close(conn) {
    leave(conn)
  },

  suspend(conn) {
    const { room, player } = conn.data
    leave(conn)
    return { room, player }
  },

  restore(conn, state) {
    // Undefined: its thread has died, and its place with it.
    conn.data = (state ?? {}) as State
    if (state === undefined) tell(conn, { type: 'left' })
    else if (conn.data.room !== undefined) joinAtHome(conn, conn.data.room)
    return conn.data
  },

  stop() {
    clearInterval(ticks)
  },
})

/** The reactor on which a room lives: the same for all players. */
function homeOf(room: string): number {
  let hash = 0
  for (let i = 0; i < room.length; i++) hash = (Math.imul(hash, 31) + room.charCodeAt(i)) >>> 0
  return hash % server.reactors
}

function joinAtHome(conn: Conn, room: string): void {
  const home = homeOf(room)
  // It goes when no hook of it is running, and `restore` comes by here once more. Lines that it sends meanwhile wait.
  if (home === reactor) join(conn)
  else conn.moveTo(home)
}

function join(conn: Conn): void {
  const { room: name, player } = conn.data
  if (name === undefined || player === undefined) return
  const room = rooms.get(name)
  const refusal = room ? refusalOf(room, player) : rooms.size >= mostRooms ? 'there are too many rooms' : undefined
  if (refusal !== undefined) {
    conn.data = {}
    return tell(conn, { type: 'error', message: refusal })
  }
  const joined = room ?? new Room()
  if (!room) rooms.set(name, joined)
  joined.add(conn, player)
  // Rooms that are empty need no ticks.
  ticks ??= setInterval(tick, tickMs)
  tell(conn, { type: 'joined', room: name, reactor })
}

function refusalOf(room: Room, player: Player): string | undefined {
  if (room.players >= mostPlayers) return 'the room is full'
  return room.hasName(player.name) ? 'this name is taken' : undefined
}

function leave(conn: Conn): void {
  const { room: name } = conn.data
  conn.data = {}
  const room = name === undefined ? undefined : rooms.get(name)
  if (name === undefined || !room) return
  room.remove(conn)
  if (room.isEmpty) rooms.delete(name)
}

function tick(): void {
  for (const room of rooms.values()) room.tick()
  if (rooms.size > 0) return
  clearInterval(ticks)
  ticks = undefined
}

function tell(conn: Pick<Conn, 'write'>, message: object): void {
  conn.write(`${JSON.stringify(message)}\n`)
}
