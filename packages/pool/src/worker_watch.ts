import { native } from '@multireactor/addon'
import type { Thread } from './thread.js'

/** A busy machine may run a thread's timer this late, although the thread turns. */
const leastGraceMs = 250

/** A pool worker, as the watch sees it. */
export interface WatchedWorker {
  thread: Thread | undefined
  /** Its end is expected, and another call handles it. */
  leaving: boolean
  timedOut: boolean
  /** A debugger held it when it was last asked, and when it was last seen to: no frame has had the time before. */
  paused: boolean
  pausedAt: number
  /** It is being asked whether a debugger holds it. */
  asked: boolean
  /** Its thread, once that is at work. */
  attached: Thread | undefined
  /** Since when that has not answered whether it turns. */
  silentSince: number | undefined
}

export interface WorkerWatchOptions {
  runtime: number
  /** A worker that does not come back from a frame, or does not turn, for so long is ended. */
  taskTimeoutMs: number
  /** The workers with their numbers, those that leave included. */
  watched: () => readonly (readonly [number, WatchedWorker])[]
}

/** Ends pool workers that do not come back from a frame or do not turn, unless a debugger holds them. */
export class WorkerWatch {
  readonly #options: WorkerWatchOptions
  #watch: NodeJS.Timeout | undefined
  #watchedAt = 0
  #excuseMs = 0
  #excusedUntil = 0

  constructor(options: WorkerWatchOptions) {
    this.#options = options
  }

  start(): void {
    // Twice within the time limit, at most once a second: see endStuck for when a worker is ended.
    const every = Math.max(10, Math.min(1_000, this.#options.taskTimeoutMs / 2))
    this.#watchedAt = performance.now()
    this.#watch = setInterval(() => this.#endStuck(every), every).unref()
  }

  stop(): void {
    clearInterval(this.#watch)
  }

  #endStuck(every: number): void {
    const now = performance.now()
    const late = now - this.#watchedAt - every
    this.#watchedAt = now
    const { runtime, taskTimeoutMs } = this.#options
    if (late > leastGraceMs) {
      // The whole process was stopped for a while. Frames that ran meanwhile have not had that time.
      this.#excuseMs = late
      this.#excusedUntil = now + taskTimeoutMs
    }
    const excuse = now < this.#excusedUntil ? this.#excuseMs : 0
    const works = native.workWaits(runtime)
    for (const [index, member] of this.#options.watched()) {
      if (!member.thread || member.timedOut || member.asked) continue
      // An asynchronous frame that is late errs alone, in its own thread; a quarter more means that the thread does not turn.
      const limit = taskTimeoutMs + Math.max(taskTimeoutMs / 4, leastGraceMs) + excuse
      const mayBeAsked = member.thread === member.attached && member.silentSince === undefined
      if (mayBeAsked && (member.leaving || works)) void this.#askWhetherItTurns(member, member.thread)
      const isLate = this.#lateMs(index, member) >= limit && now - member.pausedAt >= limit
      if (!isLate && !member.paused) continue
      void this.#endLate(index, member, member.thread, limit)
    }
  }

  /** How long its oldest frame has been running, or it has not turned: a timer of the app may hold a worker that has no frame. */
  #lateMs(index: number, { silentSince }: WatchedWorker): number {
    const silentMs = silentSince === undefined ? 0 : performance.now() - silentSince
    return Math.max(native.runningMs(this.#options.runtime, index), silentMs)
  }

  async #askWhetherItTurns(member: WatchedWorker, thread: Thread): Promise<void> {
    member.silentSince = performance.now()
    await thread.request('turn').catch(() => {})
    if (member.thread === thread) member.silentSince = undefined
  }

  async #endLate(index: number, member: WatchedWorker, thread: Thread, limit: number): Promise<void> {
    member.asked = true
    const was = member.paused
    member.paused = await thread.isPaused()
    member.asked = false
    // Until it goes on it is asked at every look; its frame has the whole time from then on.
    if (was || member.paused) member.pausedAt = performance.now()
    // It may have come back, or gone, meanwhile.
    if (was || member.paused || member.thread !== thread || this.#lateMs(index, member) < limit) return
    member.timedOut = true
    void thread.terminate()
  }
}
