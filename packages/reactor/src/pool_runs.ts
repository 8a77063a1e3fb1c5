import { type ErrorEnvelope, failureFromEnvelope, MultireactorError, replyFlag } from '@multireactor/addon'

/** The peer decides when its connection closes: a promise that rejects because of it, and that nobody looks at, must not end the thread. */
export function ignorable<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

/** The failure that a worker sent for a run. */
export function runFailure(bytes: Buffer, flags: number): Error {
  if (flags & replyFlag.overloaded)
    return new MultireactorError('ERR_MR_OVERLOADED', 'the frame waited longer than maxWaitMs in the task queue')
  if (flags & replyFlag.timedOut) return new MultireactorError('ERR_MR_TASK_TIMEOUT', 'the frame ran longer than taskTimeoutMs')
  if (flags & replyFlag.lost || bytes.length === 0)
    return new MultireactorError('ERR_MR_TASK_LOST', 'the pool worker died while it worked on this frame')
  return failureFromEnvelope(JSON.parse(bytes.toString()) as ErrorEnvelope)
}
