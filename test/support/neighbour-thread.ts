import { readFileSync } from 'node:fs'
import net from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'

// Polite connections: each asks, waits for its answer, and asks again after a pause. Counts milliseconds of the clock, and those of CPU time that
// the thread of its reactor spends between the question and the answer: its work for others meanwhile, however long the machine makes
// all of them wait. The app says which thread that is (`w`), and answers with the CPU time that it has used (`c`).

const { port, connections } = workerData as { port: number; connections: number }
let waits: number[] = []
let spent: number[] = []
let closed = 0
const usedBy = (thread: string): number => Number(readFileSync(`/proc/${thread}/schedstat`, 'latin1').split(' ')[0])

for (let i = 0; i < connections; i++) {
  const socket = net.connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  socket.setEncoding('latin1')
  let thread = ''
  let text = ''
  let asked = 0
  let before = 0
  const ask = (): void => {
    asked = performance.now()
    try {
      before = usedBy(thread)
    } catch {
      return // the server has ended, or this thread of it, and the connection tells so
    }
    socket.write('c\n')
  }
  socket.on('connect', () => socket.write('w\n'))
  socket.on('data', (chunk: string) => {
    text += chunk
    if (!text.endsWith('\n')) return
    if (thread === '') {
      thread = text.trim()
    } else {
      waits.push(performance.now() - asked)
      spent.push((Number(text) - before) / 1e6)
    }
    text = ''
    setTimeout(ask, 5)
  })
  socket.on('error', () => {})
  socket.on('close', () => closed++)
}

parentPort!.on('message', (what: 'read' | 'stop') => {
  if (what === 'stop') process.exit()
  parentPort!.postMessage({ waits, spent, closed })
  waits = []
  spent = []
})
