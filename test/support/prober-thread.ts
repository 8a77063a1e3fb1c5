import net from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { cpuMsOf } from './cpu.js'
import type { ProbePlan } from './prober.js'

// Asks and waits for the answer, again and again, on a thread of its own: the storm's own work does not delay the next question.

const { port, pid, connections, request, replyBytes } = workerData as ProbePlan
const paceMs = 2
let waits: number[] = []
let answered = 0
const sockets = Array.from({ length: connections }, () => {
  const socket = net.connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  let received = 0
  let asked = 0
  const ask = () => {
    asked = cpuMsOf(pid)
    socket.write(request)
  }
  socket.on('connect', ask)
  socket.on('data', (chunk) => {
    received += chunk.length
    if (received < replyBytes) return
    received = 0
    waits.push(cpuMsOf(pid) - asked)
    if (++answered === connections) parentPort!.postMessage('ready')
    setTimeout(ask, paceMs)
  })
  socket.on('error', () => {})
  socket.on('close', () => parentPort!.postMessage('closed'))
  return { socket, waitingMs: () => cpuMsOf(pid) - asked }
})

parentPort!.on('message', (what: 'read' | 'stop') => {
  if (what === 'stop') {
    for (const { socket } of sockets) socket.removeAllListeners('close').destroy()
    parentPort!.close()
    return
  }
  // A probe that still waits counts with its waiting time.
  parentPort!.postMessage([...waits, ...sockets.map(({ waitingMs }) => waitingMs()).filter((ms) => ms > 50)])
  waits = []
})
