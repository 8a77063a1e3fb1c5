import { workerData } from 'node:worker_threads'
import { MultireactorError, shown, toEnvelope } from '@multireactor/addon'
import type { Reply, TaskContext } from './task_context.js'
import { runThread } from './thread.js'
import { workerRequests } from './worker_requests.js'

export interface PoolThreadData {
  runtime: number
  index: number
  worker: string
  concurrency: number
  nice: number
  taskTimeoutMs: number
}

/** Frames of `pool.run` came by none. */
const noListener = { name: '', encrypted: false }

void runThread(async () => {
  const { runtime, index, worker, concurrency, nice, taskTimeoutMs } = workerData as PoolThreadData
  const module = await load(worker)
  if (typeof module.default !== 'function') {
    throw new MultireactorError(
      'ERR_MR_APP_SHAPE',
      `the default export of ${worker} must be a function (bytes, ctx) => bytes, and is ${shown(module.default)}`,
    )
  }
  const parse = module.default as (bytes: Buffer, ctx: TaskContext) => Reply | Promise<Reply>
  const work = { parse }
  const requests = workerRequests({
    runtime,
    index,
    work: () => work,
    listener: () => noListener,
    concurrency,
    nice,
    taskTimeoutMs,
    onFailure: () => {}, // it goes to the caller
  })
  return { description: undefined, requests: { ...requests } }
})

async function load(worker: string): Promise<{ default?: unknown }> {
  try {
    return (await import(worker)) as { default?: unknown }
  } catch (cause) {
    const reason = toEnvelope(cause).message
    throw new MultireactorError('ERR_MR_APP_LOAD', `the worker module ${worker} failed to load: ${reason}`, { cause })
  }
}
