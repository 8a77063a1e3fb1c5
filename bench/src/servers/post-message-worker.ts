import { parentPort, workerData } from 'node:worker_threads'
import { lineHandlers, type TextWork } from '../work.js'

/** A line on its way to a worker, or its reply on the way back: which connection, and the text. */
export type Message = [connection: number, text: string]

const handle = lineHandlers[workerData as TextWork]
const port = parentPort!

port.on('message', ([connection, text]: Message) => port.postMessage([connection, handle(text)] satisfies Message))
