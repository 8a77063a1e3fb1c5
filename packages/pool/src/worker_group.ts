import type { WorkerOptions } from 'node:worker_threads'
import { native } from '@multireactor/addon'
import { Deaths } from './deaths.js'
import { Successor } from './successor.js'
import { started, type Thread, within } from './thread.js'
import { Threads } from './threads.js'
import { type WatchedWorker, WorkerWatch } from './worker_watch.js'

/** A pool worker that was replaced, and the fate of its frames. */
export interface WorkerReplaced {
  /** The number of the worker, from 0. */
  index: number
  /** `'exit'`: it ended by itself; `'timeout'`: it was ended because a frame ran too long. */
  reason: 'exit' | 'timeout'
  /** The error that ended the thread, if it was one. */
  error: Error | undefined
  /** Frames that went back into the queue. */
  requeued: number
  /** Frames that had begun and are run once more (`onTaskLost: 'retry'`). */
  retried: number
  /** Frames that had begun and are given up. */
  lost: number
}

export interface WorkerGroupOptions {
  runtime: number
  size: number
  entry: URL
  threadOptions: (index: number) => WorkerOptions
  /** A thread that has not loaded its module and run its start hook by then is ended, and its start rejects with the reason. */
  startTimeoutMs: number
  taskTimeoutMs: number
  /** Whether the process goes on while the threads only wait. */
  keepsAlive: boolean
  /** May a frame whose worker died run once more? */
  retry: boolean
  onEvent: (index: number, name: string, value: unknown) => void
  onReplaced: (replaced: WorkerReplaced) => void
  /** A replacement did not start; another one follows. */
  onStartFailed: (index: number, error: Error) => void
}

/** How long the stop hooks of a thread that is replaced on purpose may take. */
const stopMs = 1_000
/** Frames of others wait for a worker meanwhile, so the longest pause is short. */
const backoff = { firstBackoffMs: 20, mostBackoffMs: 250, quick: 5, withinMs: 60_000 }

interface Member extends WatchedWorker {
  backoff: NodeJS.Timeout | undefined
  readonly deaths: Deaths
  readonly successor: Successor
}

/** The threads of a pool: starts them, ends those that do not turn any more, replaces those that died, and swaps their code. */
export class WorkerGroup {
  readonly #options: WorkerGroupOptions
  readonly #members: Member[] = []
  /** No members any more, and not through yet: with their numbers. */
  readonly #leaving = new Set<readonly [number, Member]>()
  readonly #threads: Threads
  readonly #watch: WorkerWatch
  #closing = false

  constructor(options: WorkerGroupOptions) {
    this.#options = options
    this.#threads = new Threads(options.startTimeoutMs)
    const { runtime, taskTimeoutMs } = options
    const watched = () => [...this.#members.entries(), ...this.#leaving]
    this.#watch = new WorkerWatch({ runtime, taskTimeoutMs, watched })
  }

  get size(): number {
    return this.#members.length
  }

  /** Resolves to the first thread's start result when all have started. If one fails, rejects and ends all. */
  async start(): Promise<unknown> {
    let descriptions: unknown[]
    try {
      descriptions = await this.#grow(this.#options.size)
    } catch (error) {
      await this.terminate()
      throw error
    }
    this.#watch.start()
    return descriptions[0]
  }

  /** Asks every living thread. */
  async request(name: string, value?: unknown): Promise<unknown[]> {
    return Promise.all(this.#members.map(({ thread }) => thread?.request(name, value)))
  }

  /** Threads with the code as it is now, loaded and not yet at work: one for each member. Rejects, and ends all, when one fails. */
  async prepare(): Promise<Thread[]> {
    const fresh = this.#members.map((_, index) => this.#spawn(index))
    await started(fresh)
    return fresh
  }

  /** Puts prepared threads in the place of the members, one after the other; each member finishes its claimed frames. */
  async swap(fresh: readonly Thread[]): Promise<void> {
    for (const [index, thread] of fresh.entries()) {
      const member = this.#members[index]
      if (!member || this.#closing) {
        await thread.terminate()
        continue
      }
      await this.#retire(index, member)
      if (this.#closing) {
        await thread.terminate()
        continue
      }
      member.thread = thread
      member.leaving = false
      // One that has ended since it was loaded is replaced like any other.
      await this.#attach(index, member, thread).catch(() => {})
    }
  }

  /** More or fewer workers. A worker that goes finishes its claimed frames. */
  async resize(size: number): Promise<void> {
    native.resizeWorkers(this.#options.runtime, size)
    if (size > this.#members.length) {
      const before = this.#members.length
      try {
        await this.#grow(size)
      } catch (error) {
        native.resizeWorkers(this.#options.runtime, before)
        throw error
      }
      return
    }
    await this.#retireFrom(size)
  }

  /** Lets the threads run their stop hooks, for at most `timeoutMs`, then ends them. */
  async close(timeoutMs: number): Promise<void> {
    this.#closing = true
    this.#watch.stop()
    await within(this.request('stop'), timeoutMs)
    await this.terminate()
  }

  async terminate(): Promise<void> {
    this.#closing = true
    this.#watch.stop()
    for (const { backoff, successor } of this.#members) {
      clearTimeout(backoff)
      successor.take()
    }
    await this.#threads.terminate()
  }

  async #grow(size: number): Promise<unknown[]> {
    const first = this.#members.length
    const threads: Thread[] = []
    for (let index = first; index < size; index++) threads.push(this.#spawn(index))
    const descriptions = await started(threads)
    for (const [i, thread] of threads.entries()) {
      const member: Member = {
        thread,
        leaving: false,
        timedOut: false,
        paused: false,
        pausedAt: Number.NEGATIVE_INFINITY,
        asked: false,
        attached: undefined,
        silentSince: undefined,
        backoff: undefined,
        deaths: new Deaths(backoff),
        successor: this.#successorOf(first + i),
      }
      this.#members[first + i] = member
      try {
        await this.#attach(first + i, member, thread)
      } catch (error) {
        await this.#retireFrom(first)
        await Promise.all(threads.map((one) => one.terminate()))
        throw error
      }
    }
    return descriptions
  }

  #successorOf(index: number): Successor {
    return new Successor(() => {
      const thread = this.#spawn(index)
      if (!this.#options.keepsAlive) thread.unref()
      return thread
    }, backoff.withinMs)
  }

  #spawn(index: number): Thread {
    const { entry, threadOptions, onEvent } = this.#options
    return this.#threads.spawn(entry, threadOptions(index), (name, value) => onEvent(index, name, value))
  }

  /**
   * Puts a thread that has loaded to work. Supervised before it is asked: it may end while it attaches, with frames already. One
   * that is still starting keeps the process alive.
   */
  async #attach(index: number, member: Member, thread: Thread): Promise<void> {
    this.#supervise(index, member, thread)
    try {
      await thread.attach(undefined, this.#options.taskTimeoutMs)
      member.attached = thread
      if (!this.#options.keepsAlive) thread.unref()
    } catch (error) {
      await thread.terminate()
      throw error
    }
  }

  /** The watch looks at those that leave as well: one that does not turn would never be through. */
  async #retireFrom(first: number): Promise<void> {
    const leaving = this.#members.splice(first).map((member, i) => [first + i, member] as const)
    for (const one of leaving) this.#leaving.add(one)
    await Promise.all(leaving.map(([index, member]) => this.#retire(index, member)))
    for (const one of leaving) this.#leaving.delete(one)
  }

  /** Ends a member in an orderly way. Unfinished frames count as lost, as with a death. */
  async #retire(index: number, member: Member): Promise<void> {
    clearTimeout(member.backoff)
    member.leaving = true
    void member.successor.end()
    const { thread } = member
    if (!thread) return
    // Bounded by the time limit of its frames: a worker that does not turn is ended by the watch.
    await thread.request('drain').catch(() => {})
    await within(thread.request('stop'), stopMs)
    await thread.terminate()
    native.reapWorker(this.#options.runtime, index, this.#options.retry, member.timedOut)
    member.timedOut = false
    member.thread = undefined
    member.silentSince = undefined
  }

  #supervise(index: number, member: Member, thread: Thread): void {
    void thread.exited.then(({ error }) => {
      if (this.#closing || member.leaving) return
      const reason = member.timedOut ? 'timeout' : 'exit'
      member.timedOut = false
      const reaped = native.reapWorker(this.#options.runtime, index, this.#options.retry, reason === 'timeout')
      member.thread = undefined
      member.silentSince = undefined
      member.deaths.add()
      this.#replace(index, member, 0)
      this.#options.onReplaced({ index, reason, error, ...reaped })
    })
  }

  #replace(index: number, member: Member, failures: number): void {
    member.backoff = setTimeout(
      async () => {
        if (this.#closing || member.leaving) return
        let thread: Thread | undefined
        try {
          // It throws when the process may have no more threads.
          thread = member.successor.take() ?? this.#spawn(index)
          member.thread = thread
          await thread.ready
        } catch (error) {
          await thread?.terminate()
          if (this.#closing || member.leaving) return
          member.thread = undefined
          this.#options.onStartFailed(index, error as Error)
          return this.#replace(index, member, failures + 1)
        }
        if (this.#closing || member.leaving) return
        await this.#attach(index, member, thread).catch(() => {})
        if (!this.#closing && !member.leaving) member.successor.prepare(member.deaths.delayMs(0))
      },
      member.successor.thread ? 0 : member.deaths.delayMs(failures),
    )
  }
}
