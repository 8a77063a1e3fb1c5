import type { ResourceLimits } from 'node:worker_threads'
import type { ListenerPlan } from './reactor_thread.js'

/** A reactor thread that was replaced. */
export interface ReactorReplaced {
  /** The number of the reactor, from 0. */
  index: number
  /**
   * `'exit'`: its thread ended by itself; `'stuck'`: it was ended because it did not turn any more; `'timeout'`: because a frame of
   * `run: 'inline'` or `'auto'` ran too long.
   */
  reason: 'exit' | 'stuck' | 'timeout'
  /** The error that ended the thread, if it was one. */
  error: Error | undefined
}

export interface ReactorGroupOptions {
  runtime: number
  hasPool: boolean
  poolIsGiven: boolean
  plans: ListenerPlan[]
  /** The CPUs of the threads, if they are pinned. */
  cpus: readonly number[] | undefined
  /** One that has not started by then is ended. */
  startTimeoutMs: number
  /** A thread that does not turn for so long is ended and replaced. */
  hookTimeoutMs: number
  /** A thread that runs one frame for so long is ended and replaced. */
  taskTimeoutMs: number
  resourceLimits: ResourceLimits | undefined
  mostGarbage: number | undefined
  onEvent: (name: string, value: unknown) => void
  onReplaced: (replaced: ReactorReplaced) => void
  /** A successor did not start; another one follows. */
  onStartFailed: (index: number, error: Error) => void
  /** No thread could be started for it. Its connections go to its siblings, if there are any. */
  onGivenUp: (index: number, error: Error | undefined) => void
}
