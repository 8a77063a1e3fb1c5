/** Compiled, never run: code that must not compile is marked. */
import { httpApp } from '@multireactor/http'
import { defineApp, lengthPrefixed, lines, type Server, serve, ServerHandle } from '@multireactor/core'
import type { Reactor } from '@multireactor/reactor'

export const placed = defineApp({
  // @ts-expect-error: no such place
  run: 'somewhere',
  parse: (frame) => frame,
})

export const inline = defineApp({ run: 'inline', parse: (frame) => frame })

export const typed = defineApp({
  framing: lines(),
  open(conn) {
    const nothing: undefined = conn.data
    return { seen: 0, nothing }
  },
  message(conn, frame) {
    conn.data.seen += frame.length
    // @ts-expect-error: open returns no such property
    conn.data.unknown = 1
    // @ts-expect-error: a number is not bytes
    conn.write(1)
    const writable: boolean = conn.write('x')
    // @ts-expect-error: no such reason
    conn.destroy('because')
    const id: bigint = conn.id
    // @ts-expect-error: the id is not a number
    const number: number = conn.id
    return void [writable, id, number]
  },
  close(conn, reason) {
    const seen: number = conn.data.seen
    // @ts-expect-error: no such reason
    if (reason === 'tired') return
    void seen
  },
})

export const withoutOpen = defineApp({
  message(conn) {
    // @ts-expect-error: without open there is no data
    conn.data.seen
  },
})

export const replies = defineApp({
  parse(frame, ctx) {
    // @ts-expect-error: a frame's number in its connection is read only
    ctx.sequence = 1
    return [frame, 'text', new Uint8Array(1)]
  },
})

export const streams = defineApp({
  async *parse(frame) {
    yield frame
    yield 'text'
  },
})

// @ts-expect-error: a number is no reply
export const badReply = defineApp({ parse: () => 42 })
// @ts-expect-error: nor is an object
export const badObject = defineApp({ parse: () => ({ answer: 42 }) })
// @ts-expect-error: no such hook
export const badHook = defineApp({ parse: () => 'x', mesage() {} })
// @ts-expect-error: no such order
export const badOrder = defineApp({ parse: () => 'x', order: 'any' })
// @ts-expect-error: no such length
export const badLength = lengthPrefixed({ type: 'u24be' })

export async function served(server: Server): Promise<void> {
  const outcome: 'sent' | 'buffered' | 'gone' | 'full' = await server.send(1n, 'x')
  // @ts-expect-error: the id is a bigint
  await server.send(1, 'x')
  server.on('workerReplaced', ({ index }) => void (index satisfies number))
  // @ts-expect-error: no such event
  server.on('connection', () => {})
  const destroyed: number = (await server.close({ timeoutMs: 1 })).destroyed
  // @ts-expect-error: an app is a module, not an object
  await serve({ app: typed, listen: 0 })
  // @ts-expect-error: somewhere to listen is needed
  await serve({ app: 'app.js' })
  // @ts-expect-error: made by attach
  new ServerHandle(1)
  void [outcome, destroyed]
}

export async function alone(reactor: Reactor): Promise<void> {
  await reactor.listen(0, {
    open: () => 'text',
    message(conn) {
      const text: string = conn.data
      void text
    },
  })
  // @ts-expect-error: a path is a string
  await reactor.listen({ path: 1 }, { message() {} })
  // @ts-expect-error: a reactor has no parse
  await reactor.listen(0, { parse() {} })
}

export const sockets = httpApp({
  websocket: {
    upgrade: (req) => ({ data: { user: req.path } }),
    open(ws) {
      const user: string = ws.data.user
      // @ts-expect-error: upgrade gives no such property
      ws.data.unknown = 1
      // @ts-expect-error: a number is no message
      ws.send(1)
      void user
    },
    message: (ws, data, isBinary) => void [ws.data.user, data.length, isBinary],
  },
})
