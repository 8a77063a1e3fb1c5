/** What a thread needs to hand work to a pool of others, and nothing that runs it. Not part of the public interface. */
export { PendingRuns, type RunRequest } from './pending_runs.js'
