import { readFileSync } from 'node:fs'
import { httpApp, type HttpRequest, type ServerHandle, webSocketMessage } from 'multireactor'
import { Allowance } from './allowance.ts'

/** The messages of the server; the page shows them. */
type Said =
  | { type: 'welcome'; room: string; reactor: number }
  | { type: 'joined' | 'left'; name: string }
  | { type: 'message'; name: string; text: string }

interface Member {
  room: string
  name: string
  allowance: Allowance
}

const mostText = 2_000
const mostName = 30
const roomForm = /^[a-z0-9-]{1,40}$/

const page = readFileSync(new URL('./index.html', import.meta.url))
let server: ServerHandle
let reactor = 0

export default httpApp<Member>({
  start(context) {
    server = context.server
    reactor = context.index
  },

  request(req, res) {
    if (req.path !== '/') return res.status(404).end('not here\n')
    res.setHeader('Content-Type', 'text/html; charset=utf-8')
    res.setHeader('Content-Security-Policy', "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'")
    res.end(page)
  },

  websocket: {
    // More than a message may have, so that one that is too long is answered and not cut off.
    maxMessageBytes: 16 << 10,

    upgrade(req) {
      if (req.path !== '/chat') return { status: 404 }
      if (!isFromOurPage(req)) return { status: 403 }
      const room = req.query.get('room') ?? ''
      const name = (req.query.get('name') ?? '').trim()
      if (!roomForm.test(room) || name === '' || name.length > mostName) return { status: 400 }
      return { data: { room, name, allowance: new Allowance() } }
    },

    open(ws) {
      const { room, name } = ws.data
      // A member that does not read loses messages, and does not slow the others down.
      ws.subscribe(topicOf(room), { slow: 'drop' })
      ws.send(JSON.stringify({ type: 'welcome', room, reactor } satisfies Said))
      tell(room, { type: 'joined', name })
    },

    message(ws, data, isBinary) {
      const { room, name, allowance } = ws.data
      if (isBinary) return ws.close(1003, 'text only')
      if (!allowance.take()) return ws.close(1008, 'slower, please')
      const text = String(data).trim()
      if (text === '') return
      if (text.length > mostText) return ws.close(1009, `at most ${mostText} characters`)
      tell(room, { type: 'message', name, text })
    },

    close(ws) {
      tell(ws.data.room, { type: 'left', name: ws.data.name })
    },

    // An Allowance is an object of this thread: only data can go to the next one.
    suspend: (ws) => ({ room: ws.data.room, name: ws.data.name }),
    restore(_ws, state) {
      return { ...(state as { room: string; name: string }), allowance: new Allowance() }
    },
  },
})

const topicOf = (room: string): string => `room ${room}`

/** Sends to all members of the room, on all reactors: encoded once. */
function tell(room: string, said: Said): void {
  // It rejects when the server is closing, and then there is no member to reach.
  server.publish(topicOf(room), webSocketMessage(JSON.stringify(said))).catch(() => {})
}

/** Browsers let any page open a WebSocket to us, with our cookies; they say which one it is. Other clients say nothing. */
function isFromOurPage(req: HttpRequest): boolean {
  const origin = req.header('origin')
  return origin === undefined || origin.replace(/^https?:\/\//, '') === req.header('host')
}
