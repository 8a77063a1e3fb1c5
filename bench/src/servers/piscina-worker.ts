import { workerData } from 'node:worker_threads'
import { type LineHandler, lineHandlers, type Work } from '../work.js'

const handle: LineHandler = lineHandlers[workerData as Exclude<Work, 'echo'>]

export default handle
