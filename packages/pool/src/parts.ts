/** What the runtime builds on. Not part of the public interface: it may change in any release. */
export { runThread, started, Thread, type ThreadSide, within } from './thread.js'
export { WorkerGroup, type WorkerGroupOptions } from './worker_group.js'
export type { FrameWork } from './frame_loop.js'
export { InlineLoop } from './inline_loop.js'
export { workerRequests } from './worker_requests.js'
export { Deaths } from './deaths.js'
