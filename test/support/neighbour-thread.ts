import net from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'

// Polite connections: each asks, waits for its answer, and asks again after a pause. Counts milliseconds of the clock.

const { port, request, replyBytes, connections } = workerData as {
  port: number
  request: string
  replyBytes: number
  connections: number
}
let waits: number[] = []
let closed = 0
for (let i = 0; i < connections; i++) {
  const socket = net.connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  let received = 0
  let asked = 0
  const ask = (): void => {
    asked = performance.now()
    socket.write(request)
  }
  socket.on('connect', ask)
  socket.on('data', (chunk) => {
    received += chunk.length
    if (received < replyBytes) return
    received = 0
    waits.push(performance.now() - asked)
    setTimeout(ask, 5)
  })
  socket.on('error', () => {})
  socket.on('close', () => closed++)
}

parentPort!.on('message', (what: 'read' | 'stop') => {
  if (what === 'stop') process.exit()
  parentPort!.postMessage({ waits, closed })
  waits = []
})
