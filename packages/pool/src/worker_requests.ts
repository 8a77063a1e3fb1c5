import { WorkerLoop, type WorkerLoopOptions } from './worker_loop.js'

/** What a worker's thread does when its group asks: it goes to work only when it has loaded and is wanted. */
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
