export { type ErrorCode, errorCodes, MultireactorError } from '@multireactor/addon'
export { Pool, type PoolOptions, type PoolStats } from './pool.js'
export type { Bytes, Reply, TaskContext } from './task_context.js'
export type { WorkerReplaced } from './worker_group.js'
