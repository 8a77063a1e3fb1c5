import { defineApp, lengthPrefixed, type ServerHandle } from 'multireactor'
import { type Answers, askAll, type Question } from './asked.ts'
import { Counts } from './counts.ts'
import { type Conn, Devices, type State } from './devices.ts'
import { deviceOf, message, mostBytes, types } from './protocol.js'
import { readSettings } from './settings.js'

const { secret, loginMs, commandMs, silenceMs } = readSettings(process.env)

// In each reactor's thread.
const counts = new Counts()
const devices = new Devices(({ listener }) => void counts.of(listener).commands++)
const deadlines = new Map<bigint, NodeJS.Timeout>()
/** A connection, logged in or not. */
type Peer = Pick<Conn, 'id' | 'listener' | 'end'>
let server: ServerHandle

export default defineApp<State>({
  framing: lengthPrefixed({ type: 'u16be', maxBytes: mostBytes }),
  idleTimeoutMs: silenceMs,

  start(context) {
    server = context.server
    // Zero is a count, too.
    for (const { name } of context.listeners) counts.of(name)
  },

  open(conn) {
    expectLogin(conn)
    return { device: undefined, since: 0n, reading: undefined }
  },

  message(conn, frame) {
    const body = frame.subarray(1)
    const count = counts.of(conn.listener)
    if (conn.data.device === undefined) {
      const device = frame[0] === types.login ? deviceOf(body, secret) : undefined
      return device === undefined ? refuse(conn, 'a login must come first, with the token of the device') : accept(conn, device)
    }
    switch (frame[0]) {
      case types.reading:
        if (body.length !== 8 || !Number.isFinite(body.readDoubleBE(0))) return refuse(conn, 'a reading is one double')
        conn.data.reading = body.readDoubleBE(0)
        count.readings++
        break
      case types.result:
        // A late result is dropped.
        devices.result(conn, body)
        break
      case types.ping:
        conn.write(message(types.pong))
        break
      default:
        refuse(conn, 'there is no such message')
    }
  },

  close(conn) {
    leave(conn)
  },

  // To the thread that follows at a reload.
  suspend(conn) {
    leave(conn)
    return conn.data
  },
  restore(conn, state) {
    // Nothing is known of a connection whose thread has died: its device logs in again.
    const data = (state ?? { device: undefined, since: 0n, reading: undefined }) as State
    if (data.device === undefined) {
      expectLogin(conn)
      if (state === undefined) refuse(conn, 'the gateway has lost its thread: log in again')
    } else {
      devices.add(data.device, conn)
      counts.of(conn.listener).devices++
    }
    return data
  },

  async onCall(bytes) {
    const question = JSON.parse(bytes.toString()) as Question
    return JSON.stringify(await answer(question))
  },
})

/** A peer that does not log in is closed, however busily it sends. */
function expectLogin(conn: Peer): void {
  deadlines.set(
    conn.id,
    setTimeout(() => refuse(conn, 'no login in time'), loginMs),
  )
}

function refuse(conn: Peer, why: string): void {
  counts.of(conn.listener).refused++
  clearDeadline(conn)
  conn.end(message(types.refused, why))
}

function accept(conn: Conn, device: string): void {
  clearDeadline(conn)
  conn.data.device = device
  conn.data.since = process.hrtime.bigint()
  devices.add(device, conn)
  const count = counts.of(conn.listener)
  count.devices++
  count.logins++
  conn.write(message(types.welcome))
  // An older connection of this device, wherever it is, goes; if there is a later one, this one does.
  askAll(server, { ask: 'replace', device, since: String(conn.data.since) }).then(
    (answers) => {
      if (answers.some(({ isLatest }) => !isLatest)) conn.destroy()
    },
    // The server is closing, or so busy that it refuses calls: better no device than one that is there twice.
    () => conn.destroy(),
  )
}

function leave(conn: Conn): void {
  clearDeadline(conn)
  devices.remove(conn)
  if (conn.data.device !== undefined) counts.of(conn.listener).devices--
}

function clearDeadline(conn: Peer): void {
  clearTimeout(deadlines.get(conn.id))
  deadlines.delete(conn.id)
}

async function answer(question: Question): Promise<Answers[Question['ask']]> {
  switch (question.ask) {
    case 'command': {
      const outcome = await devices.command(question.device, Buffer.from(question.bytes, 'base64'), commandMs)
      if (typeof outcome === 'string') return { outcome }
      return { outcome: 'result', bytes: outcome.result.toString('base64') }
    }
    case 'replace':
      return { isLatest: devices.replace(question.device, BigInt(question.since)) }
    case 'devices': {
      const all: Answers['devices'] = []
      for (const { device, listener, reading } of devices.list()) {
        if (all.length === question.most) break
        all.push({ device, listener, ...(reading === undefined ? {} : { reading }) })
      }
      return all
    }
    case 'counts':
      return counts.all
  }
}
