import { workerData } from 'node:worker_threads'
import { MultireactorError, shown, toEnvelope } from '@multireactor/addon'
import type { FrameWork } from './frame_loop.js'
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
  const { default: parse, task } = module
  const isTask = typeof task === 'function'
  if (typeof parse !== 'function' && !(isTask && parse === undefined)) {
    throw new MultireactorError(
      'ERR_MR_APP_SHAPE',
      `the default export of ${worker} must be a function (bytes, ctx) => bytes, and is ${shown(parse)}; for pool.runTask() alone, export a function named task`,
    )
  }
  if (task !== undefined && !isTask) {
    throw new MultireactorError(
      'ERR_MR_APP_SHAPE',
      `task of ${worker} must be a function (value, ctx) => value, and is ${shown(task)}`,
    )
  }
  const work: FrameWork = {
    parse: typeof parse === 'function' ? (parse as FrameWork['parse']) : noParse,
    task: isTask ? (task as FrameWork['task']) : undefined,
  }
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

function noParse(): never {
  throw new MultireactorError(
    'ERR_MR_NO_HOOK',
    "pool.run(): the worker's module has no default export: export the function that takes the bytes as default",
  )
}

async function load(worker: string): Promise<{ default?: unknown; task?: unknown }> {
  try {
    return (await import(worker)) as { default?: unknown; task?: unknown }
  } catch (cause) {
    const reason = toEnvelope(cause).message
    throw new MultireactorError('ERR_MR_APP_LOAD', `the worker module ${worker} failed to load: ${reason}`, { cause })
  }
}
