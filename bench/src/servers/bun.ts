import { lineHandlers, returnBytes, type TextWork } from '../work.js'
import { LineSplitter } from './line-splitter.js'
import { announce, serverOptions } from './start.js'

// The same work by Bun.listen, in its own words: one write for all replies of a chunk, and the bytes that the socket did not take are written
// when it drains. Declared here as far as it is used: the bench is compiled by Node's types.
interface BunSocket {
  data: Peer
  write(bytes: string | Uint8Array): number
}

interface BunServer {
  port: number
}

interface BunRuntime {
  gc(synchronous: boolean): void
  listen(options: {
    hostname: string
    port: number
    socket: {
      open(socket: BunSocket): void
      data(socket: BunSocket, chunk: Buffer): void
      drain(socket: BunSocket): void
      close(socket: BunSocket): void
      error(socket: BunSocket, error: Error): void
    }
  }): BunServer
}

declare const Bun: BunRuntime

interface Peer {
  lines: LineSplitter | undefined
  unsent: Buffer | undefined
}

const { work } = serverOptions()
let open = 0

function send(socket: BunSocket, bytes: string | Uint8Array): void {
  const { data } = socket
  if (data.unsent !== undefined) {
    data.unsent = Buffer.concat([data.unsent, typeof bytes === 'string' ? Buffer.from(bytes) : bytes])
    return
  }
  const sent = socket.write(bytes)
  const length = typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length
  if (sent >= length) return
  // A chunk is the socket's own memory, gone after the callback.
  data.unsent = Buffer.from(typeof bytes === 'string' ? Buffer.from(bytes) : bytes).subarray(Math.max(sent, 0))
}

function flush(socket: BunSocket): void {
  const { unsent } = socket.data
  socket.data.unsent = undefined
  if (unsent !== undefined) send(socket, unsent)
}

function answerBytes(socket: BunSocket, lines: LineSplitter, chunk: Buffer): void {
  const replies = lines.answer(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength), returnBytes)
  if (replies !== undefined) send(socket, replies)
}

const handle = lineHandlers[work as TextWork]

const server = Bun.listen({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    open(socket) {
      open++
      socket.data = { lines: undefined, unsent: undefined }
    },
    data(socket, chunk) {
      if (work === 'echo') return send(socket, chunk)
      socket.data.lines ??= new LineSplitter()
      if (work === 'bytes') return answerBytes(socket, socket.data.lines, chunk)
      let replies = ''
      socket.data.lines.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength), (text) => {
        replies += handle(text)
      })
      if (replies !== '') send(socket, replies)
    },
    drain: flush,
    close() {
      open--
    },
    error() {},
  },
})

announce([server.port], () => {
  Bun.gc(true)
  return { open, frames: [], held: 0 }
})
