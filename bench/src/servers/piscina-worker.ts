import { workerData } from 'node:worker_threads'
import { type LineHandler, lineHandlers, type TextWork } from '../work.js'

const handle: LineHandler = lineHandlers[workerData as TextWork]

export default handle
