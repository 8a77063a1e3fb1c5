import { MultireactorError, native } from '@multireactor/addon'
import { Deaths, started, Successor, type Thread, Threads, within } from '@multireactor/pool/group'
import { cpuOf } from './pin.js'
import type { ReactorGroupOptions } from './reactor_group_options.js'
import type { AppDescription, AttachRequest, ListenRequest, ReactorThreadData } from './reactor_thread.js'
import { retire } from './retire_reactor.js'
import { ReactorWatch, unwatched, type WatchedThread } from './reactor_watch.js'

interface Member extends WatchedThread {
  /** Its successors did not start: its siblings have its connections. */
  givenUp: boolean
  backoff: NodeJS.Timeout | undefined
  readonly deaths: Deaths
  readonly successor: Successor
}

/** So many successors in a row that did not start, and the reactor is given up. Deaths alone, which a peer may cause, give up none. */
const mostFailures = 8
/** The first one follows at once; more deaths within the time wait longer each. Connections wait meanwhile, so the longest is short. */
const backoff = { firstBackoffMs: 20, mostBackoffMs: 500, quick: 1, withinMs: 60_000 }
/** Of successors that do not start. */
const failureBackoff = { ...backoff, mostBackoffMs: 2_000 }

/** The threads that drive the reactors: starts and replaces them; the reactors themselves, and their connections, stay. */
export class ReactorGroup {
  readonly #options: ReactorGroupOptions
  readonly #members: Member[] = []
  readonly #threads: Threads
  readonly #watch: ReactorWatch
  #closing = false

  constructor(options: ReactorGroupOptions) {
    this.#options = options
    this.#threads = new Threads(options.startTimeoutMs)
    const { runtime, hookTimeoutMs, taskTimeoutMs } = options
    this.#watch = new ReactorWatch({ runtime, hookTimeoutMs, taskTimeoutMs, members: this.#members })
  }

  get size(): number {
    return this.#members.length
  }

  /** Those that have a thread of the app, or will have one again. */
  get alive(): number {
    return this.#members.filter(({ leaving }) => !leaving).length
  }

  /** Resolves to the threads' descriptions of the apps when `count` more of them drive their reactors. */
  async grow(count: number): Promise<AppDescription[]> {
    const first = this.#members.length
    const threads = Array.from({ length: count }, (_, i) => this.#spawn(first + i))
    let descriptions: unknown[]
    try {
      descriptions = await started(threads)
      await Promise.all(threads.map((thread) => this.#attach(thread, false)))
    } catch (error) {
      await Promise.all(threads.map((thread) => thread.terminate()))
      throw error
    }
    for (const [i, thread] of threads.entries()) this.#supervise(first + i, this.#add(first + i, thread), thread)
    this.#watch.start(descriptions as AppDescription[])
    return descriptions as AppDescription[]
  }

  /** See `ReactorWatch.anyTurns`. */
  anyTurns(): Promise<boolean> {
    return this.#watch.anyTurns()
  }

  listen(index: number, request: ListenRequest): Promise<unknown> {
    return this.request(index, 'listen', request)
  }

  /** Rejects while the reactor has no thread. */
  request(index: number, name: string, value?: unknown): Promise<unknown> {
    const thread = this.#members[index]?.thread
    if (!thread) return Promise.reject(new MultireactorError('ERR_MR_THREAD_LOST', `reactor ${index} has no thread just now`))
    return thread.request(name, value)
  }

  requestAll(name: string, value?: unknown): Promise<PromiseSettledResult<unknown>[]> {
    return Promise.allSettled(this.#members.map((_, index) => this.request(index, name, value)))
  }

  /** As `requestAll`; threads that are only ready for the place of a dead one hear it, too. */
  tellAll(name: string, value: unknown): Promise<unknown> {
    const ahead = this.#members.map(({ successor: { thread } }) => thread?.ready.then(() => thread.request(name, value)))
    return Promise.all([this.requestAll(name, value), Promise.allSettled(ahead)])
  }

  /** Threads with the code as it is now, loaded and not yet driving. Rejects, and ends all, when one fails. */
  async prepare(): Promise<{ threads: Thread[]; descriptions: AppDescription[] }> {
    const threads = this.#members.map((_, index) => this.#spawn(index))
    const descriptions = (await started(threads)) as AppDescription[]
    this.#watch.watchFrames(descriptions)
    return { threads, descriptions }
  }

  /** Rejects when the data of some connection could not go to another thread. */
  async checkSuspend(): Promise<void> {
    for (const { thread } of this.#members) await thread?.request('checkSuspend')
  }

  /** Puts prepared threads in the place of the members, one after the other. The connections wait for a moment. */
  async swap(fresh: readonly Thread[], timeoutMs: number): Promise<void> {
    for (const [index, thread] of fresh.entries()) {
      const member = this.#members[index]
      if (member && !member.givenUp && !this.#closing) await this.#suspend(member, timeoutMs)
      if (!member || member.givenUp || this.#closing) {
        await thread.terminate()
        continue
      }
      const lost = member.stuck
      member.stuck = false
      member.thread = thread
      member.leaving = false
      native.forgetReactorThread(this.#options.runtime, index)
      // Supervised before it is asked: one that has ended since it was loaded is replaced like any other.
      this.#supervise(index, member, thread)
      await this.#attach(thread, lost).catch(() => thread.terminate())
    }
  }

  /** The last `count` reactors hand everything to their siblings; then their threads end. */
  async shrink(count: number, timeoutMs: number): Promise<void> {
    const first = this.#members.length - count
    const leaving = this.#members.slice(first)
    await Promise.all(
      leaving.map(async (member, i) => {
        clearTimeout(member.backoff)
        member.leaving = true
        void member.successor.end()
        if (!(await retire(member, timeoutMs)) && !member.givenUp) await this.#takeCare(first + i, member)
        // A thread that was ended has not let go of it, and the reactor may come back.
        native.forgetReactorThread(this.#options.runtime, first + i)
        native.forwardMail(this.#options.runtime, first + i)
      }),
    )
    this.#members.splice(first)
  }

  async terminate(): Promise<void> {
    this.beginClose()
    await this.#threads.terminate()
  }

  /** From now on no thread is replaced. */
  beginClose(): void {
    this.#closing = true
    this.#watch.stop()
    for (const { backoff, successor } of this.#members) {
      clearTimeout(backoff)
      successor.take()
    }
  }

  /** A thread that loops between its start and its first turn is ended, as one that loops later. */
  #attach(thread: Thread, lost: boolean): Promise<void> {
    return thread.attach({ lost } satisfies AttachRequest, this.#options.hookTimeoutMs)
  }

  #spawn(index: number, caretaker = false): Thread {
    const { runtime, hasPool, poolIsGiven, plans, cpus, taskTimeoutMs, resourceLimits, mostGarbage, onEvent } = this.#options
    const data: ReactorThreadData = {
      runtime,
      index,
      hasPool,
      poolIsGiven,
      plans,
      taskTimeoutMs,
      cpu: cpuOf(cpus, index),
      mostGarbage,
      caretaker,
    }
    return this.#threads.spawn(
      new URL('./reactor_thread.js', import.meta.url),
      { workerData: data, name: `mr-reactor-${index}`, ...(resourceLimits ? { resourceLimits } : {}) },
      (name, value) => onEvent(name, value),
    )
  }

  #add(index: number, thread: Thread): Member {
    const member: Member = {
      ...unwatched(thread),
      givenUp: false,
      backoff: undefined,
      deaths: new Deaths(backoff),
      successor: new Successor(() => this.#spawn(index), backoff.withinMs),
    }
    this.#members.push(member)
    return member
  }

  async #suspend(member: Member, timeoutMs: number): Promise<void> {
    clearTimeout(member.backoff)
    member.leaving = true
    void member.successor.end()
    const { thread } = member
    if (!thread) return
    // A thread that does not answer is ended, and its JavaScript state is lost.
    if (!(await within(thread.request('suspend', timeoutMs), timeoutMs + 1_000))) member.stuck = true
    await thread.terminate()
    member.thread = undefined
  }

  #supervise(index: number, member: Member, thread: Thread): void {
    member.driving = true
    member.turns = -1
    void thread.exited.then(({ error }) => {
      if (this.#closing || member.leaving) return
      member.driving = false
      const reason = member.timedOut ? 'timeout' : member.stuck ? 'stuck' : 'exit'
      member.stuck = false
      member.timedOut = false
      member.thread = undefined
      native.forgetReactorThread(this.#options.runtime, index)
      member.deaths.add()
      this.#replace(index, member, 0)
      this.#options.onReplaced({ index, reason, error })
    })
  }

  #replace(index: number, member: Member, failures: number): void {
    const pauseMs = failures > 0 ? new Deaths(failureBackoff).delayMs(failures) : member.deaths.delayMs(0)
    member.backoff = setTimeout(
      async () => {
        if (this.#closing || member.leaving) return
        let thread: Thread | undefined
        let hasStarted = false
        try {
          // It throws when the process may have no more threads.
          thread = member.successor.take() ?? this.#spawn(index)
          member.thread = thread
          await thread.ready
          if (this.#closing || member.leaving || member.thread !== thread) return
          hasStarted = true
          await this.#attach(thread, true)
          this.#supervise(index, member, thread)
          member.successor.prepare(member.deaths.delayMs(0))
        } catch (error) {
          await thread?.terminate()
          // A reload may have put another one in its place meanwhile.
          if (this.#closing || member.leaving || member.thread !== thread) return
          member.thread = undefined
          native.forgetReactorThread(this.#options.runtime, index)
          this.#options.onStartFailed(index, error as Error)
          // It has ended, or hung, between its start and its first turn: a death, which gives no reactor up.
          if (hasStarted) {
            member.deaths.add()
            this.#replace(index, member, 0)
          } else if (failures + 1 > mostFailures) this.#giveUp(index, member, error as Error)
          else this.#replace(index, member, failures + 1)
        }
      },
      member.successor.thread ? 0 : pauseMs,
    )
  }

  /** No thread of the app can be started: one without any app hands everything to the siblings. */
  #giveUp(index: number, member: Member, error: Error | undefined): void {
    const { runtime, onGivenUp } = this.#options
    member.leaving = true
    member.givenUp = true
    native.setReactorActive(runtime, index, false)
    const siblings = this.#members.some((other) => other !== member && !other.leaving)
    if (!siblings) return onGivenUp(index, error)
    void this.#takeCare(index, member).then(() => {
      if (!this.#closing) native.forwardMail(runtime, index)
    })
    onGivenUp(index, error)
  }

  /** A thread without any app hands over the connections of a dead one. Without it connections would wait for ever, so it is tried again. */
  async #takeCare(index: number, member: Member): Promise<void> {
    for (let failures = 0; failures <= mostFailures && !this.#closing; failures++) {
      native.forgetReactorThread(this.#options.runtime, index)
      let thread: Thread | undefined
      let failure: Error | undefined
      try {
        thread = this.#spawn(index, true)
        member.thread = thread
        await thread.ready
        await thread.request('takeCare')
      } catch (error) {
        failure = error as Error
      }
      await thread?.terminate()
      member.thread = undefined
      if (!failure) return
      if (!this.#closing) this.#options.onStartFailed(index, failure)
      await new Promise((resolve) => setTimeout(resolve, failureBackoff.firstBackoffMs * 2 ** failures).unref())
    }
  }
}
