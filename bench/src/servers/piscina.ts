import { createServer } from 'node:net'
import { Piscina } from 'piscina'
import { LineSplitter } from './line-splitter.js'
import { listenAndAnnounce } from './listen.js'
import { OrderedReplies } from './ordered-replies.js'
import { serverOptions } from './start.js'

// `net` on the main thread, one piscina task per line, piscina's own defaults apart from the number of threads.

const { work, pool } = serverOptions()
const piscina = new Piscina<string, string>({
  filename: new URL('./piscina-worker.js', import.meta.url).href,
  minThreads: pool,
  maxThreads: pool,
  workerData: work,
})

const server = createServer({ noDelay: true }, (socket) => {
  const lines = new LineSplitter()
  const replies = new OrderedReplies((bytes) => socket.write(bytes))
  socket.on('data', (chunk: Buffer) => lines.push(chunk, (text) => replies.add(piscina.run(text))))
  socket.on('error', () => socket.destroy())
})

await listenAndAnnounce(server)
