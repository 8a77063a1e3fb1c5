import { createServer, type Server, type Socket } from 'node:net'
import { lineHandlers, returnBytes, type Work } from '../work.js'
import { LineSplitter } from './line-splitter.js'

/** A `node:net` server that does the work where the bytes arrive: the common ground of the servers `net` and `cluster`. */
export function inlineServer(work: Work): Server {
  return createServer({ noDelay: true }, (socket) => {
    if (work === 'echo') socket.on('data', (chunk) => socket.write(chunk))
    else if (work === 'bytes') answerBytes(socket)
    else answerLines(socket, lineHandlers[work])
    socket.on('error', () => socket.destroy())
  })
}

function answerBytes(socket: Socket): void {
  const lines = new LineSplitter()
  socket.on('data', (chunk: Buffer) => {
    const replies = lines.answer(chunk, returnBytes)
    if (replies !== undefined) socket.write(replies)
  })
}

function answerLines(socket: Socket, handle: (text: string) => string): void {
  const lines = new LineSplitter()
  socket.on('data', (chunk: Buffer) => {
    // One write for all replies of a chunk: the fastest form that stays simple.
    let replies = ''
    lines.push(chunk, (text) => {
      replies += handle(text)
    })
    if (replies !== '') socket.write(replies)
  })
}
