/** Starting, watching and replacing threads, for the thread that has them. Not part of the public interface. */
export { cgroupLimits } from './cgroup.js'
export { Deaths } from './deaths.js'
export { type Machine, machine, mebibytes } from './machine.js'
export { Successor } from './successor.js'
export { started, type Thread, within } from './thread.js'
export { Threads } from './threads.js'
export { WorkerGroup, type WorkerGroupOptions } from './worker_group.js'
