import { WorkerLoop, type WorkerLoopOptions } from './worker_loop.js'

/** Requests of a group to a worker's thread, which takes work only after it has loaded and was asked to. */
export function workerRequests(options: WorkerLoopOptions): {
  attach(): void
  /** Its answer says that the thread turns. */
  turn(): void
  drain(): Promise<void> | undefined
  stop(): void
} {
  let loop: WorkerLoop | undefined
  return {
    attach: () => {
      loop = new WorkerLoop(options)
    },
    turn: () => {},
    drain: () => loop?.drain(),
    stop: () => loop?.close(),
  }
}
