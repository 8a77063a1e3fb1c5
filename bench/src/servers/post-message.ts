import { createServer, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import { lineHandlers, type TextWork } from '../work.js'
import { LineSplitter } from './line-splitter.js'
import { listenAndAnnounce } from './listen.js'
import type { Message } from './post-message-worker.js'
import { serverOptions } from './start.js'

// `net` on the main thread, one postMessage per line and one per reply. A string is the cheapest thing to post at these sizes.
// A connection stays with one worker, which keeps its replies in order without a window. Lines that are shorter than
// `--inline-below` stay on the main thread; a connection that sends both would get its replies out of order.

const { work, pool, inlineBelow } = serverOptions()
const handle = lineHandlers[work as TextWork]
const sockets = new Map<number, Socket>()
const workers = Array.from({ length: pool }, () => {
  const worker = new Worker(new URL('./post-message-worker.js', import.meta.url), { workerData: work })
  worker.on('message', ([id, reply]: Message) => sockets.get(id)?.write(reply))
  return worker
})

let nextId = 0
const server = createServer({ noDelay: true }, (socket) => {
  const id = nextId++
  const worker = workers[id % workers.length]!
  const lines = new LineSplitter()
  sockets.set(id, socket)
  const onLine = (text: string): void => {
    if (text.length < inlineBelow) socket.write(handle(text))
    else worker.postMessage([id, text] satisfies Message)
  }
  socket.on('data', (chunk: Buffer) => lines.push(chunk, onLine))
  socket.on('error', () => socket.destroy())
  socket.on('close', () => sockets.delete(id))
})

await listenAndAnnounce(server)
