/** For a thread that gives work to a pool of other threads, without the code that runs it. Not part of the public interface. */
export { PendingRuns, type RunRequest } from './pending_runs.js'
