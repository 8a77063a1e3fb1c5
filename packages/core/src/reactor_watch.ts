import { native, reactorCounterNames } from '@multireactor/addon'
import type { Thread } from '@multireactor/pool/group'
import type { AppDescription } from './reactor_thread.js'

/** What the watch knows of a reactor's thread. */
export interface WatchedThread {
  thread: Thread | undefined
  leaving: boolean
  /** Of those: it hands its connections to siblings, and is still watched. */
  retiring: boolean
  stuck: boolean
  /** It was ended for a frame that ran too long. */
  timedOut: boolean
  /** Its thread drives the reactor. One that is still loading cannot be stuck, however long its `start` hook takes. */
  driving: boolean
  /** Results of the last looks at its turns. */
  turns: number
  unchanged: number
  /** A debugger held its thread when it was last asked, and when it was last seen to: no frame has had the time before. */
  paused: boolean
  pausedAt: number
  /** Its thread is being asked whether a debugger holds it. */
  asked: boolean
}

/** A thread at which no watch has looked yet. */
export function unwatched(thread: Thread): WatchedThread {
  return {
    thread,
    leaving: false,
    retiring: false,
    stuck: false,
    timedOut: false,
    driving: false,
    turns: -1,
    unchanged: 0,
    paused: false,
    pausedAt: Number.NEGATIVE_INFINITY,
    asked: false,
  }
}

/** So many looks at a thread that does not turn, a share of the time limit apart. */
const looks = 4
/** An asynchronous frame that is late errs alone, in its own thread; so much later the thread does not turn. */
const leastGraceMs = 250
/** How long a reactor may take to turn once when it is asked whether it does. A probe waits a second by default (Kubernetes). */
const turnWithinMs = 500
const turnsColumn = reactorCounterNames.indexOf('turns')

/** It has a thread, and no other call is ending or asking it. */
function canBeEnded({ thread, leaving, retiring, stuck, timedOut, asked }: WatchedThread): boolean {
  return thread !== undefined && (!leaving || retiring) && !stuck && !timedOut && !asked
}

export interface ReactorWatchOptions {
  runtime: number
  /** A thread that does not turn for so long is ended. */
  hookTimeoutMs: number
  /** A thread that runs one frame for so long is ended. */
  taskTimeoutMs: number
  /** By the number of the reactor. */
  members: readonly WatchedThread[]
}

/** Sees whether reactors turn, and ends threads that are stuck in a hook or in a frame, unless a debugger holds them. */
export class ReactorWatch {
  readonly #options: ReactorWatchOptions
  #watch: NodeJS.Timeout | undefined
  #frameWatch: NodeJS.Timeout | undefined
  #framesWatchedAt = 0
  #turning: Promise<boolean> | undefined
  #stopped = false

  constructor(options: ReactorWatchOptions) {
    this.#options = options
  }

  /** May be called again: it goes on. */
  start(descriptions: readonly AppDescription[]): void {
    const every = Math.max(50, this.#options.hookTimeoutMs / looks)
    this.#watch ??= setInterval(() => this.#endStuck(), every).unref()
    this.watchFrames(descriptions)
  }

  stop(): void {
    this.#stopped = true
    clearInterval(this.#watch)
    clearInterval(this.#frameWatch)
  }

  /** Only where frames run on reactors. As often as the pool is looked at. */
  watchFrames(descriptions: readonly AppDescription[]): void {
    if (this.#frameWatch || !descriptions.some(({ runsFrames }) => runsFrames)) return
    const every = Math.max(10, Math.min(1_000, this.#options.taskTimeoutMs / 2))
    this.#framesWatchedAt = performance.now()
    this.#frameWatch = setInterval(() => this.#endLate(every), every).unref()
  }

  #endLate(every: number): void {
    const { runtime, taskTimeoutMs } = this.#options
    const now = performance.now()
    // The whole process was stopped for a while: the frames have not had that time.
    const late = Math.max(0, now - this.#framesWatchedAt - every)
    this.#framesWatchedAt = now
    const limit = taskTimeoutMs + Math.max(taskTimeoutMs / 4, leastGraceMs) + late
    for (const [index, member] of this.#options.members.entries()) {
      const running = native.inlineRunningMs(runtime, index)
      const isLate = running >= limit && now - member.pausedAt >= limit
      if ((!isLate && !member.paused) || !canBeEnded(member)) continue
      void this.#endUnlessPaused(member, () => {
        if (native.inlineRunningMs(runtime, index) < limit) return false
        member.timedOut = true
        native.endForTime(runtime, index)
        return true
      })
    }
  }

  /** Whether a reactor turns, and so accepts. Asked by a probe: the turns are watched closely only while one waits. */
  anyTurns(): Promise<boolean> {
    this.#turning ??= this.#seeTurn().finally(() => {
      this.#turning = undefined
    })
    return this.#turning
  }

  async #seeTurn(): Promise<boolean> {
    const turnsOf = () => native.readCounters(this.#options.runtime).reactors.map((row) => row[turnsColumn]!)
    const before = turnsOf()
    for (let waitMs = 1, until = performance.now() + turnWithinMs; !this.#stopped; waitMs *= 2) {
      const driving = [...this.#options.members.entries()].filter(([, { driving, thread }]) => driving && thread !== undefined)
      for (const [index] of driving) native.wakeReactor(this.#options.runtime, index)
      await new Promise((resolve) => setTimeout(resolve, waitMs).unref())
      if (this.#stopped) return false
      const now = turnsOf()
      if (driving.some(([index]) => now[index] !== before[index])) return true
      if (performance.now() > until) return false
    }
    return false
  }

  #endStuck(): void {
    const counters = native.readCounters(this.#options.runtime)
    for (const [index, member] of this.#options.members.entries()) {
      if (!member.driving || !canBeEnded(member)) continue
      const turns = counters.reactors[index]![turnsColumn]!
      // Counted in looks, each of which asks for a turn: a process that was stopped for a while has no stuck threads.
      member.unchanged = turns === member.turns ? member.unchanged + 1 : 0
      member.turns = turns
      if (member.unchanged > looks || member.paused) {
        member.unchanged = 0
        void this.#endUnlessPaused(member, () => {
          const now = native.readCounters(this.#options.runtime).reactors[index]?.[turnsColumn]
          member.stuck = now === turns
          return member.stuck
        })
      } else {
        native.wakeReactor(this.#options.runtime, index)
      }
    }
  }

  /** Ends a thread that does not come back, unless a debugger holds it, or `isDue` says that it has come back meanwhile. */
  async #endUnlessPaused(member: WatchedThread, isDue: () => boolean): Promise<void> {
    const thread = member.thread!
    member.asked = true
    const was = member.paused
    member.paused = await thread.isPaused()
    member.asked = false
    // Until it goes on it is asked at every look; its hook or frame has the whole time from then on.
    if (was || member.paused) member.pausedAt = performance.now()
    if (was || member.paused || this.#stopped || member.thread !== thread || !canBeEnded(member)) return
    if (isDue()) void thread.terminate()
  }
}
