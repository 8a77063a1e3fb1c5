import { Buffer } from 'node:buffer'
import {
  causedByPeer,
  contexts,
  currentContext,
  isBytes,
  isPeersDoing,
  MultireactorError,
  replyFlag,
  runFresh,
  toEnvelope,
  valueBytes,
  valueFrom,
} from '@multireactor/addon'
import type { RunningFrame } from './running_frame.js'
import { type Bytes, isAsyncIterable, notAReply, type Reply, type TaskContext } from './task_context.js'

/** The functions of an app that a thread calls for frames. */
export interface FrameWork {
  parse(frame: Buffer, ctx: TaskContext): Reply | Promise<Reply>
  /** Returns the answer for a frame whose `parse` failed. Without it the connection closes. */
  error?: ((error: unknown, frame: Buffer, ctx: TaskContext) => Reply | Promise<Reply>) | undefined
  /** Returns the answer for a frame that found the queue full or waited too long. Without it the connection closes. */
  overloaded?: ((frame: Buffer, ctx: TaskContext) => Reply | Promise<Reply>) | undefined
  /** The function behind `runTask`: values in, values out. */
  task?: ((value: unknown, ctx: TaskContext) => unknown) | undefined
}

/** The listener of a frame, as `ctx` shows it. */
export interface FrameListener {
  readonly name: string
  /** With TLS. */
  readonly encrypted: boolean
}

export interface FrameLoopOptions {
  /** By listener number. */
  work: (listener: number) => FrameWork
  listener: (listener: number) => FrameListener
  taskTimeoutMs: number
  /** A frame failed, and no error hook or caller took the error. */
  onFailure: (error: unknown, listener: string) => void
}

/** A timer that is later than this has waited for the thread, and so have the frames. */
const leastLateMs = 100

const { last, end, destroy, error: failed, timedOut, overloaded } = replyFlag

/**
 * The contract of `parse` in the pool and on a reactor: its results, writes, promises and errors, and that each frame
 * settles exactly once. Subclasses supply the frames and route the replies.
 */
export abstract class FrameLoop {
  protected readonly options: FrameLoopOptions
  /** Frames whose promise is pending, in the order in which they run out of time. */
  protected readonly pending: Set<RunningFrame> = new Set()
  /** The context in which every frame begins. A store that a frame enters with `AsyncLocalStorage` belongs to this frame. */
  readonly #context = currentContext()
  readonly #streams = new Map<number, RunningFrame>()
  readonly #watching = new Map<bigint, Set<RunningFrame>>()
  // Not from 1: a credit for the last owner of this place must not look like one of ours.
  #nextStream = 1 + Math.floor(Math.random() * 0x3fff_ffff)
  #timer: NodeJS.Timeout | undefined
  #timerDue = 0

  constructor(options: FrameLoopOptions) {
    this.options = options
  }

  get taskTimeoutMs(): number {
    return this.options.taskTimeoutMs
  }

  // ---------------------------------------------------------------- for subclasses

  /** Takes a reply, or the last part of one, to where it belongs. */
  protected abstract put(frame: RunningFrame, flags: number, bytes: Bytes): void
  /** One part of a streamed reply; `credit` comes back to `stream` when there is room for more. */
  protected abstract putPart(frame: RunningFrame, stream: number, part: Bytes, credit: number): void
  /** The promise of a frame is pending. */
  protected abstract holdFrame(frame: RunningFrame): void
  protected abstract watchGone(on: boolean): void
  protected abstract isGone(id: bigint): boolean
  /** A frame may have settled outside of a batch: then its reply must be sent here. */
  protected abstract afterSettle(): void
  abstract peerOf(frame: RunningFrame): [string, number] | undefined
  abstract idOf(frame: RunningFrame): bigint

  /** Memory for the results of a frame: `limits.memory` counts it until it is collected, where the thread can say so. Not zeroed. */
  allocate(bytes: number): Buffer {
    return Buffer.allocUnsafeSlow(bytes)
  }

  // ---------------------------------------------------------------- running

  /** False when the work goes on behind its return. */
  protected runFrame(frame: RunningFrame, work: FrameWork): boolean {
    if (contexts.used) return runFresh(this.#context, this.#runHere, this, frame, work)
    const { mark } = contexts
    const done = this.#runHere(frame, work)
    contexts.mark = mark // the frame entered its stores itself
    return done
  }

  #runHere(frame: RunningFrame, work: FrameWork): boolean {
    frame.work = work
    try {
      if (frame.isValue) {
        this.#runTask(frame, work)
        return !this.pending.has(frame)
      }
      const result = work.parse(frame.bytes, frame.context)
      if (typeof result === 'string' && !frame.isSpecial) {
        this.put(frame, last, result)
        return true
      }
      this.#onResult(frame, result)
    } catch (error) {
      this.fail(frame, error)
    }
    return !this.pending.has(frame)
  }

  #runTask(frame: RunningFrame, work: FrameWork): void {
    if (!work.task) {
      throw new MultireactorError(
        'ERR_MR_NO_HOOK',
        "runTask(): the worker's module has no task function: export one named 'task'",
      )
    }
    const result = work.task(valueFrom(frame.bytes), frame.context)
    if (isPromise(result)) this.#wait(frame, result)
    else this.settle(frame, result)
  }

  /** No worker takes the frame any more: the app's `overloaded` hook answers, or the connection closes. */
  protected refuse(frame: RunningFrame, work: FrameWork): void {
    runFresh(this.#context, this.#refuseHere, this, frame, work)
  }

  #refuseHere(frame: RunningFrame, work: FrameWork): void {
    frame.work = work
    if (frame.isRun || !work.overloaded) return this.#settleRaw(frame, last | failed | destroy | overloaded, '')
    try {
      this.#onResult(frame, work.overloaded(frame.bytes, frame.context))
    } catch (error) {
      this.fail(frame, error)
    }
  }

  #onResult(frame: RunningFrame, result: Reply | Promise<Reply>): void {
    if (isPromise(result)) {
      this.#wait(frame, result)
    } else if (isAsyncIterable(result)) {
      this.#wait(frame, this.#stream(frame, result))
    } else {
      this.settle(frame, result)
    }
  }

  #wait(frame: RunningFrame, promise: Promise<Reply>): void {
    this.#hold(frame)
    promise.then(
      (value) => {
        if (frame.settled) return
        try {
          if (!frame.isValue && isAsyncIterable(value)) return this.#wait(frame, this.#stream(frame, value))
        } catch (error) {
          return this.fail(frame, error)
        }
        this.settleOrFail(frame, value)
      },
      (error: unknown) => this.fail(frame, error),
    )
  }

  #hold(frame: RunningFrame): void {
    // Settled while it ran, by ctx.destroy(): its promise holds no place of the worker, and nothing would give that back.
    if (frame.settled || this.pending.has(frame)) return
    this.holdFrame(frame)
    frame.deadline = performance.now() + this.options.taskTimeoutMs
    this.pending.add(frame)
    if (!this.#timer) this.#arm(this.options.taskTimeoutMs)
  }

  #arm(milliseconds: number): void {
    this.#timerDue = performance.now() + milliseconds
    this.#timer = setTimeout(() => this.#expire(), milliseconds)
  }

  async #stream(frame: RunningFrame, parts: AsyncIterable<Bytes>): Promise<undefined> {
    for await (const part of parts) {
      if (frame.settled) break // leaving the loop ends the iterator too
      if (!isBytes(part)) throw notAReply(part)
      await frame.write(part)
    }
  }

  // ---------------------------------------------------------------- settling

  settleOrFail(frame: RunningFrame, value: Reply): void {
    try {
      this.settle(frame, value)
    } catch (error) {
      this.fail(frame, error)
    }
  }

  /** The one settlement of a frame; later ones are ignored. Throws when `value` is no reply. */
  settle(frame: RunningFrame, value: unknown, flags = 0): void {
    if (frame.settled) return
    const bytes = frame.isValue ? valueBytes('the result of task()', value) : joined(value as Reply)
    this.#finish(frame)
    this.put(frame, flags | last | (frame.ends ? end : 0) | (frame.failing ? failed : 0), bytes)
    this.afterSettle()
  }

  /** `parse` failed: the error hook answers, or the connection closes. A caller gets the error itself. */
  fail(frame: RunningFrame, error: unknown): void {
    if (frame.settled) return
    if (frame.isRun) return this.#settleRaw(frame, last | failed, JSON.stringify(toEnvelope(error)))
    const hook = frame.work?.error
    if (!hook || frame.failing) {
      // An error goes to the hook or to the caller; without either it is reported.
      this.report(error, frame.listener.name)
      return this.#settleRaw(frame, last | failed | destroy | timedOutFlag(error), '')
    }
    frame.failing = true
    try {
      const answer = hook(error, frame.bytes, frame.context)
      if (isPromise(answer) || isAsyncIterable(answer)) this.#onResult(frame, answer)
      else this.settle(frame, answer)
    } catch (second) {
      this.fail(frame, second)
    }
  }

  report(error: unknown, listener: string): void {
    if (isPeersDoing(error)) return
    this.options.onFailure(error, listener)
  }

  destroyConnection(frame: RunningFrame): void {
    if (!frame.settled)
      this.#settleRaw(
        frame,
        frame.isRun ? last | failed : last | destroy,
        frame.isRun
          ? JSON.stringify(
              toEnvelope(new MultireactorError('ERR_MR_TASK_FAILED', 'the worker function destroyed its connection')),
            )
          : '',
      )
  }

  #settleRaw(frame: RunningFrame, flags: number, bytes: Bytes): void {
    this.#finish(frame)
    this.put(frame, flags, bytes)
    this.afterSettle()
  }

  #finish(frame: RunningFrame): void {
    frame.settled = true
    this.pending.delete(frame)
    frame.release()
  }

  // ---------------------------------------------------------------- streams, signals, time

  openStream(frame: RunningFrame): number {
    const stream = this.#nextStream
    this.#nextStream = (this.#nextStream % 0x7fff_ffff) + 1
    this.#streams.set(stream, frame)
    return stream
  }

  closeStream(stream: number): void {
    this.#streams.delete(stream)
  }

  protected credit(stream: number, amount: number, gone: boolean): void {
    this.#streams.get(stream)?.credit(amount, gone)
  }

  protected stopTimer(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  sendPart(frame: RunningFrame, stream: number, part: Bytes, credit: number): void {
    this.putPart(frame, stream, part, credit)
  }

  watch(frame: RunningFrame): void {
    const id = frame.connection
    const frames = this.#watching.get(id) ?? new Set()
    frames.add(frame)
    this.#watching.set(id, frames)
    if (this.#watching.size === 1) this.watchGone(true)
    // It may have closed before the watch began.
    if (this.isGone(id)) queueMicrotask(() => this.connectionGone(id))
  }

  unwatch(frame: RunningFrame): void {
    const frames = this.#watching.get(frame.connection)
    frames?.delete(frame)
    if (frames?.size !== 0) return
    this.#watching.delete(frame.connection)
    if (this.#watching.size === 0) this.watchGone(false)
  }

  protected connectionGone(id: bigint): void {
    for (const frame of [...(this.#watching.get(id) ?? [])]) {
      frame.abort(
        causedByPeer(
          new MultireactorError(
            'ERR_MR_CONNECTION_CLOSED',
            'the result has no receiver: the connection has closed, or the caller has aborted',
          ),
        ),
      )
    }
  }

  #expire(): void {
    this.#timer = undefined
    const now = performance.now()
    // The process was stopped, or another frame kept the thread: no frame has had its full time.
    const late = now - this.#timerDue
    if (late > leastLateMs) for (const frame of this.pending) frame.deadline += late
    let next = 0
    for (const frame of this.pending) {
      if (frame.deadline > now) {
        next = frame.deadline - now
        break
      }
      const error = new MultireactorError(
        'ERR_MR_TASK_TIMEOUT',
        `the frame ran longer than taskTimeoutMs (${this.options.taskTimeoutMs} ms)`,
      )
      frame.abort(error)
      this.fail(frame, error)
      // A hook that answers asynchronously holds the frame again, with a new deadline.
      this.pending.delete(frame)
      if (!frame.settled) this.#hold(frame)
    }
    if (next > 0 && !this.#timer) this.#arm(Math.ceil(next))
  }
}

function timedOutFlag(error: unknown): number {
  try {
    return error instanceof MultireactorError && error.code === 'ERR_MR_TASK_TIMEOUT' ? timedOut : 0
  } catch {
    // A Proxy may throw even there.
    return 0
  }
}

function isPromise(value: unknown): value is Promise<Reply> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

function joined(value: Reply): Bytes {
  if (value === undefined) return ''
  if (isBytes(value)) return value
  if (!Array.isArray(value)) throw notAReply(value)
  if (value.every((part) => typeof part === 'string')) return value.join('')
  for (const part of value) if (!isBytes(part)) throw notAReply(part)
  return Buffer.concat(value.map((part: Bytes) => (typeof part === 'string' ? Buffer.from(part) : part)))
}
