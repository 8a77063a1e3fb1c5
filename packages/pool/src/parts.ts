/** Parts of a thread that the runtime uses. Not part of the public interface: it may change in any release. */
export type { FrameListener, FrameWork } from './frame_loop.js'
export { watchHeap } from './heap_watch.js'
export { InlineLoop } from './inline_loop.js'
export { runThread, type ThreadSide } from './thread.js'
export { workerRequests } from './worker_requests.js'
