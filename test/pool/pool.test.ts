import { spawnSync } from 'node:child_process'
import { BroadcastChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import { MultireactorError, Pool, type PoolOptions, type WorkerReplaced } from '@multireactor/pool'
import { expect } from 'chai'
import { failureOf, fixture } from '../fixtures/bad-failure.js'
import { lostViews } from '../fixtures/lost_views.js'

/** The messages of the tasks of pool-commands.js, and the word that lets a gate open. */
class Stage {
  readonly #channel = new BroadcastChannel('pool-commands')
  readonly #said: Record<string, string>[] = []
  readonly #waiting = new Set<() => void>()

  constructor() {
    this.#channel.onmessage = (event) => {
      this.#said.push((event as { data: Record<string, string> }).data)
      for (const look of this.#waiting) look()
    }
  }

  /** Resolves once a task has said `what: name`. */
  said(what: 'started' | 'aborted', name: string): Promise<Record<string, string>> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.#said.find((one) => one[what] === name)
        if (!found) return
        this.#waiting.delete(look)
        resolve(found)
      }
      this.#waiting.add(look)
      look()
    })
  }

  has(what: 'started' | 'aborted', name: string): boolean {
    return this.#said.some((one) => one[what] === name)
  }

  /** Returns once a task has said something; nothing else happens in this thread meanwhile. */
  blockUntilSaid(): Record<string, string> {
    for (;;) {
      const said = receiveMessageOnPort(this.#channel as unknown as MessagePort)
      if (said) return said.message as Record<string, string>
    }
  }

  go(name: string): void {
    this.#channel.postMessage({ go: name })
  }

  close(): void {
    this.#channel.close()
  }
}

const make = (options: Partial<PoolOptions> = {}, worker = 'pool-commands.js') =>
  new Pool({ worker: fixture(worker), size: 1, ...options })
const text = async (reply: Promise<Buffer>) => (await reply).toString()

describe('a pool', () => {
  let stage: Stage
  beforeEach(() => {
    stage = new Stage()
  })
  afterEach(() => {
    stage.close()
  })

  describe('carries bytes', () => {
    it('takes further tasks when a function destroys its connection and stays pending: it holds no place of the worker', async () => {
      await using pool = make({ size: 1, concurrency: 1 })
      for (let i = 0; i < 3; i++) expect((await failureOf(() => pool.run('destroy'))).code).to.equal('ERR_MR_TASK_FAILED')
      expect(String(await pool.run('echo on'))).to.equal('on')
    })

    it('there and back unchanged, from nothing to 5 MiB', async () => {
      await using pool = make({ size: 2 }, 'pool-echo.js')
      for (const size of [0, 1, 63, 64, 4095, 16_384, 65_536, 65_537, 262_144, 1 << 20, 5 << 20]) {
        const bytes = Buffer.alloc(size)
        for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8)) & 255
        const reply = await pool.run(bytes)
        expect(reply.equals(bytes), `${size} bytes`).to.equal(true)
      }
    })

    it('of strings as UTF-8, also those beyond one plane', async () => {
      await using pool = make({}, 'pool-echo.js')
      for (const string of ['', 'plain', 'größer', '汉字', '🚀'.repeat(50_000)])
        expect(await text(pool.run(string))).to.equal(string)
    })

    it('of views, and copies them before run() returns', async () => {
      await using pool = make({}, 'pool-echo.js')
      const whole = Uint8Array.from([1, 2, 3, 4, 5, 6])
      const reply = pool.run(whole.subarray(2, 5))
      whole.fill(0)
      expect([...(await reply)]).to.deep.equal([3, 4, 5])
    })

    it('in results that stay valid when others follow', async () => {
      await using pool = make({ size: 2 }, 'pool-echo.js')
      const replies = await Promise.all(Array.from({ length: 2_000 }, (_, i) => pool.run(`task ${i} ${'x'.repeat(i % 300)}`)))
      replies.forEach((reply, i) => {
        expect(reply.toString()).to.equal(`task ${i} ${'x'.repeat(i % 300)}`)
      })
    })

    it('of every kind of reply, joined', async () => {
      await using pool = make()
      expect((await pool.run('nothing')).length).to.equal(0)
      expect(await text(pool.run('list'))).to.equal('abc')
      expect(await text(pool.run('parts'))).to.equal('one two three')
      expect(await text(pool.run('stream 4'))).to.equal('0;1;2;3;')
    })
  })

  describe('when its function fails', () => {
    it('rejects with ERR_MR_TASK_FAILED, and the cause keeps name, message, code and stack', async () => {
      await using pool = make()
      const error = await failureOf(() => pool.run('throw broken'))
      expect(error.code).to.equal('ERR_MR_TASK_FAILED')
      expect(error.message).to.include('broken')
      expect(error.cause).to.be.instanceOf(Error).and.include({ name: 'RangeError', message: 'broken', code: 'E_RANGE' })
      expect((error.cause as Error).stack).to.include('pool-commands.js')
      expect(await text(pool.run('echo on'))).to.equal('on')
    })

    it('does the same for a rejection and for a value that is no Error', async () => {
      await using pool = make()
      const rejected = await failureOf(() => pool.run('reject late'))
      expect(rejected.code).to.equal('ERR_MR_TASK_FAILED')
      expect(rejected.cause).to.include({ name: 'TypeError', message: 'late' })
      const thrown = await failureOf(() => pool.run('throwText'))
      expect(thrown.code).to.equal('ERR_MR_TASK_FAILED')
      expect(thrown.message).to.include('just a text')
    })

    it('names a reply that is none', async () => {
      await using pool = make()
      const error = await failureOf(() => pool.run('number'))
      expect(error.code).to.equal('ERR_MR_PARSE_RESULT')
      expect(error.message).to.include('and is 7')
    })

    it('does so for bytes whose memory is gone, and refuses a task of such bytes', async () => {
      const pool = make()
      const error = await failureOf(() => pool.run('lost'))
      expect(error.code).to.equal('ERR_MR_PARSE_RESULT')
      expect(error.message).to.include('a Uint8Array without memory')
      expect((await failureOf(() => pool.run(lostViews['transferred']!()))).code).to.equal('ERR_MR_DATA')
      await pool.close()
    })

    it('counts it', async () => {
      await using pool = make()
      await failureOf(() => pool.run('throw x'))
      await pool.run('echo x')
      const { workers, queued, queuedBytes } = pool.stats()
      expect(workers).to.have.length(1)
      expect(workers[0]).to.include({ framesSettled: 2, framesFailed: 1 })
      expect({ queued, queuedBytes }).to.deep.equal({ queued: 0, queuedBytes: 0 })
    })
  })

  it('counts a worker as busy while it runs a task, not while all that it may run wait', async () => {
    await using pool = make({ concurrency: 1 })
    for (const name of ['a', 'b']) {
      const run = pool.run(`gate ${name}`)
      await stage.said('started', name)
      // For so long the task waits, in any case.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
      stage.go(name)
      await run
    }
    const waited = pool.stats().workers[0]!.busyNs
    expect(waited).to.be.above(0)
    await pool.run('block 200')
    const { busyNs } = pool.stats().workers[0]!
    // The two tasks have waited for 400 ms and more.
    expect(waited / 1e6).to.be.below(390)
    expect((busyNs - waited) / 1e6).to.be.above(199)
  })

  describe('when its module fails to load', () => {
    it('rejects ready() and every task with the reason', async () => {
      const pool = make({}, 'pool-no-default.js')
      const task = failureOf(() => pool.run('x'))
      expect((await failureOf(() => pool.ready())).code).to.equal('ERR_MR_APP_SHAPE')
      expect((await task).code).to.equal('ERR_MR_APP_SHAPE')
      await pool.destroy()
    })

    it('rejects a task that comes later too, instead of leaving it waiting', async () => {
      const pool = make({}, 'pool-no-default.js')
      await failureOf(() => pool.ready())
      expect((await failureOf(() => pool.run('x'))).code).to.equal('ERR_MR_APP_SHAPE')
      await pool.close()
    })

    it('says what the module threw, with the code of any module that failed', async () => {
      const pool = make({}, 'pool-throws-on-load.js')
      const error = await failureOf(() => pool.ready())
      expect(error.code).to.equal('ERR_MR_APP_LOAD')
      expect(error.cause).to.include({ name: 'RangeError', message: 'no model today' })
      await pool.destroy()
    })
  })

  describe('when its module does not come to an end of loading', () => {
    it('says so after startTimeoutMs', async () => {
      const pool = make({ startTimeoutMs: 100 }, 'pool-hangs-on-load.js')
      for (const error of [await failureOf(() => pool.ready()), await failureOf(() => pool.run('x'))]) {
        expect(error.code).to.equal('ERR_MR_START_TIMEOUT')
        expect(error.message).to.include('the thread mr-pool-0 has not started within 100 ms')
      }
      await pool.destroy()
    })

    it('says when the thread has ended meanwhile', async () => {
      const pool = make({}, 'pool-ends-on-load.js')
      const error = await failureOf(() => pool.ready())
      expect(error.code).to.equal('ERR_MR_THREAD_LOST')
      expect(error.message).to.match(
        /the thread mr-pool-0 ended with code \d+ while it started: .*awaits a promise that cannot settle/,
      )
      await pool.destroy()
    })
  })

  describe('runs tasks beside each other', () => {
    it('asynchronous ones up to the concurrency in one worker', async () => {
      await using pool = make({ concurrency: 3 })
      const tasks = ['a1', 'a2', 'a3', 'a4'].map((name) => pool.run(`gate ${name}`))
      await Promise.all(['a1', 'a2', 'a3'].map((name) => stage.said('started', name)))
      expect(stage.has('started', 'a4')).to.equal(false)
      stage.go('a2')
      expect(await text(tasks[1]!)).to.equal('through a2')
      await stage.said('started', 'a4')
      for (const name of ['a4', 'a3', 'a1']) stage.go(name)
      expect((await Promise.all(tasks)).map(String)).to.deep.equal(['a1', 'a2', 'a3', 'a4'].map((name) => `through ${name}`))
    })

    it('four that block on four workers, cold and after 10,000 cheap ones', async () => {
      await using pool = make({ size: 4 })
      await pool.ready()
      const settled = () => pool.stats().workers.map((worker) => worker.framesSettled)
      // Which worker ran how many: a bound of time would say the same only on a machine of one's own.
      const four = async () => {
        const before = settled()
        await Promise.all([1, 2, 3, 4].map(() => pool.run('block 300')))
        return settled().map((frames, i) => frames - before[i]!)
      }
      expect(await four(), 'cold').to.deep.equal([1, 1, 1, 1])
      await Promise.all(Array.from({ length: 10_000 }, () => pool.run('echo x')))
      // With light work about one worker may be kept free of long tasks, see docs/placement.md: two of them in a row, then.
      const ran = await four()
      expect(Math.max(...ran), 'after 10,000').to.be.at.most(2)
      expect(ran.filter((frames) => frames > 0).length, 'after 10,000').to.be.at.least(3)
      expect(pool.stats().workers.reduce((sum, worker) => sum + worker.framesSettled, 0)).to.equal(10_008)
    })

    it('so that a worker that computes behind an await keeps no other one asleep', async () => {
      await using pool = make({ size: 2, concurrency: 2 })
      // More than one worker may run: both are there, and sleep afterwards.
      const names = ['a', 'b', 'c', 'd']
      const gates = names.map((name) => pool.run(`gate ${name}`))
      await Promise.all(names.map((name) => stage.said('started', name)))
      for (const name of names) stage.go(name)
      await Promise.all(gates)
      const kept = pool.run('keep e')
      await stage.said('started', 'e')
      expect(await text(pool.run('echo meanwhile'))).to.equal('meanwhile')
      stage.go('e')
      expect(await text(kept)).to.equal('let go')
    })

    it('so that a cheap one does not wait for a blocking one that its worker has claimed before', async () => {
      await using pool = make({ size: 2 })
      await pool.ready()
      const slow = pool.run('block 400')
      let slowIsDone = false
      void slow.then(() => {
        slowIsDone = true
      })
      await Promise.all(Array.from({ length: 20 }, () => pool.run('echo x')))
      expect(slowIsDone).to.equal(false)
      await slow
    })
  })

  describe('runTask', () => {
    it('runs the export task of its module on values', async () => {
      await using pool = make({}, 'pool-tasks.js')
      const value = { when: new Date(0), list: [1n, new Map([['a', 1]])], bytes: new Uint8Array([1, 2]) }
      expect(await pool.runTask({ echo: value })).to.deep.equal({ echo: value })
      expect(await pool.runTask({ add: [1, 2] })).to.equal(3)
      expect((await failureOf(() => pool.runTask({ fail: 'so' }))).message).to.equal('the worker function failed: so')
      const uncloned = await failureOf(() => pool.runTask(Symbol('x')))
      expect(uncloned.code).to.equal('ERR_MR_DATA')
      expect(uncloned.message).to.include('could not be cloned; hand over plain data')
      const noDefault = await failureOf(() => pool.run('x'))
      expect(noDefault.code).to.equal('ERR_MR_NO_HOOK')
      expect(noDefault.message).to.include('no default export')
    })

    it('says so when its module has none', async () => {
      await using pool = make({}, 'pool-echo.js')
      const noTask = await failureOf(() => pool.runTask(1))
      expect(noTask.code).to.equal('ERR_MR_NO_HOOK')
      expect(noTask.message).to.include("export one named 'task'")
      expect(await text(pool.run('on'))).to.equal('on')
    })
  })

  describe('when a worker dies', () => {
    it('rejects its task with ERR_MR_TASK_LOST, replaces it, and goes on', async () => {
      const replaced: WorkerReplaced[] = []
      await using pool = make({ onWorkerReplaced: (one) => replaced.push(one) })
      const before = await text(pool.run('thread'))
      expect((await failureOf(() => pool.run('exit'))).code).to.equal('ERR_MR_TASK_LOST')
      expect(await text(pool.run('thread'))).to.not.equal(before)
      expect(replaced).to.have.length(1)
      expect(replaced[0]).to.include({ index: 0, reason: 'exit', lost: 1, retried: 0, requeued: 0 })
      expect(pool.stats().workers[0]!.framesLost).to.equal(1)
    })

    it('runs what it had claimed and not started, each once', async () => {
      await using pool = make()
      await pool.ready()
      const tasks = [failureOf(() => pool.run('exit')), ...Array.from({ length: 50 }, (_, i) => text(pool.run(`echo ${i}`)))]
      const [lost, ...echoed] = await Promise.all(tasks)
      expect((lost as MultireactorError).code).to.equal('ERR_MR_TASK_LOST')
      expect(echoed).to.deep.equal(Array.from({ length: 50 }, (_, i) => String(i)))
    })

    it('with onTaskLost: retry runs the task once more, and not twice', async () => {
      const replaced: WorkerReplaced[] = []
      await using pool = make({ onTaskLost: 'retry', onWorkerReplaced: (one) => replaced.push(one) })
      expect(await text(pool.run('exitFirst'))).to.equal('attempt 1')
      expect(replaced[0]).to.include({ retried: 1, lost: 0 })
      expect((await failureOf(() => pool.run('exit'))).code).to.equal('ERR_MR_TASK_LOST')
      expect(replaced).to.have.length(3)
      expect(await text(pool.run('attempt'))).to.equal('0')
    })

    it('of an endless loop past taskTimeoutMs: rejects with ERR_MR_TASK_TIMEOUT, replaces it, and goes on', async () => {
      const replaced: WorkerReplaced[] = []
      await using pool = make({ taskTimeoutMs: 200, onWorkerReplaced: (one) => replaced.push(one) })
      await pool.ready()
      const began = performance.now()
      const looping = failureOf(() => pool.run('loop'))
      const behind = text(pool.run('echo behind'))
      expect((await looping).code).to.equal('ERR_MR_TASK_TIMEOUT')
      expect(performance.now() - began).to.be.at.least(195)
      expect(await behind).to.equal('behind')
      expect(replaced).to.have.length(1)
      expect(replaced[0]).to.include({ reason: 'timeout', lost: 1 })
    })
  })

  describe('whose worker loops in a timer, with no task', () => {
    it('replaces it when tasks wait, and runs them', async () => {
      const replaced: WorkerReplaced[] = []
      await using pool = make({ taskTimeoutMs: 200, onWorkerReplaced: (one) => replaced.push(one) })
      await pool.ready()
      expect(await text(pool.run('loopLater'))).to.equal('later')
      // Until the timer has come, the same worker runs them.
      while (replaced.length === 0) expect(await text(pool.run('echo on'))).to.equal('on')
      expect(await text(pool.run('echo on'))).to.equal('on')
      expect(replaced[0]).to.include({ reason: 'timeout', lost: 0, retried: 0 })
    })

    it('ends no worker that only has its promises pending', async () => {
      const replaced: WorkerReplaced[] = []
      await using pool = make({ taskTimeoutMs: 200, concurrency: 1, onWorkerReplaced: (one) => replaced.push(one) })
      await pool.ready()
      // Each has the whole time, and those behind it wait longer than that.
      const tasks = Array.from({ length: 4 }, () => failureOf(() => pool.run('never')))
      for (const task of tasks) expect((await task).code).to.equal('ERR_MR_TASK_TIMEOUT')
      expect(replaced).to.have.length(0)
    })
  })

  it('keeps no reply back while a task runs that may be dear', async () => {
    await using pool = make()
    await pool.ready()
    const quick = `echo ${'x'.repeat(200)}`
    // Their cost is known then, and replies of quick ones may wait for each other.
    for (let i = 0; i < 3; i++) await pool.run(quick)
    // Both are there when the worker looks again; it never returns from the second.
    const busy = pool.run('block 100')
    const reply = text(pool.run(quick))
    const looping = failureOf(() => pool.run('loop'))
    await busy
    expect(await reply).to.equal(quick.slice(5))
    await pool.destroy()
    await looping
  })

  it('lets an asynchronous task that is late err alone, and tells its signal', async () => {
    const replaced: WorkerReplaced[] = []
    await using pool = make({ taskTimeoutMs: 200, onWorkerReplaced: (one) => replaced.push(one) })
    const before = await text(pool.run('thread'))
    const late = [failureOf(() => pool.run('never')), failureOf(() => pool.run('signal late'))]
    const others = Array.from({ length: 20 }, (_, i) => text(pool.run(`echo ${i}`)))
    expect(await Promise.all(others)).to.deep.equal(Array.from({ length: 20 }, (_, i) => String(i)))
    expect((await Promise.all(late)).map((error) => error.code)).to.deep.equal(['ERR_MR_TASK_TIMEOUT', 'ERR_MR_TASK_TIMEOUT'])
    expect(await stage.said('aborted', 'late')).to.include({ code: 'ERR_MR_TASK_TIMEOUT' })
    expect(await text(pool.run('thread'))).to.equal(before)
    expect(replaced).to.deep.equal([])
  })

  describe('with an abort signal', () => {
    const reason = new Error('not needed any more')
    const caught = (promise: Promise<unknown>) =>
      promise.then(
        () => 'resolved',
        (error: unknown) => error,
      )

    it('rejects with its reason before anything is queued', async () => {
      await using pool = make()
      expect(await caught(pool.run('echo x', { signal: AbortSignal.abort(reason) }))).to.equal(reason)
      await pool.run('echo y')
      expect(pool.stats().workers[0]!.framesSettled).to.equal(1)
    })

    it('drops a task that is queued, which then never runs', async () => {
      await using pool = make({ concurrency: 1 })
      const holding = pool.run('gate b1')
      await stage.said('started', 'b1')
      const abort = new AbortController()
      const queued = caught(pool.run('gate b2', { signal: abort.signal }))
      abort.abort(reason)
      expect(await queued).to.equal(reason)
      stage.go('b1')
      await holding
      expect(await text(pool.run('echo after'))).to.equal('after')
      expect(stage.has('started', 'b2')).to.equal(false)
    })

    it('rejects a task that runs, and drops its result', async () => {
      await using pool = make()
      const abort = new AbortController()
      const task = caught(pool.run('gate c1', { signal: abort.signal }))
      await stage.said('started', 'c1')
      abort.abort(reason)
      expect(await task).to.equal(reason)
      stage.go('c1')
      expect(await text(pool.run('echo after'))).to.equal('after')
    })

    it('tells a task that streams, though its parts were never read, and its place is free', async () => {
      await using pool = make({ concurrency: 1, taskTimeoutMs: 20_000 })
      await pool.ready()
      const abort = new AbortController()
      const run = pool.run('flood a', { signal: abort.signal }).catch((error: Error) => error.message)
      expect(stage.blockUntilSaid()).to.deep.equal({ started: 'a' })
      abort.abort(new Error('no longer'))
      expect(await run).to.equal('no longer')
      expect(await text(pool.run('echo next'))).to.equal('next')
      expect(await stage.said('aborted', 'a')).to.include({ code: 'ERR_MR_CONNECTION_CLOSED' })
    })

    it('drops a task that waits for room', async () => {
      await using pool = make({ concurrency: 1, maxQueued: 1 })
      const holding = pool.run('gate d1')
      await stage.said('started', 'd1')
      const queued = pool.run('echo queued')
      const abort = new AbortController()
      const waiting = caught(pool.run('echo waiting', { signal: abort.signal }))
      abort.abort(reason)
      expect(await waiting).to.equal(reason)
      stage.go('d1')
      await holding
      expect(await text(queued)).to.equal('queued')
    })

    it('of the whole pool ends it, and every task rejects with the reason', async () => {
      const abort = new AbortController()
      const pool = make({ signal: abort.signal })
      const task = caught(pool.run('gate e1'))
      await stage.said('started', 'e1')
      abort.abort(reason)
      expect(await task).to.equal(reason)
      expect((await failureOf(() => pool.run('echo x'))).code).to.equal('ERR_MR_CLOSED')
    })
  })

  describe('when its queue is full', () => {
    it('with onQueueFull: reject rejects what does not fit, and takes the next when there is room', async () => {
      await using pool = make({ concurrency: 1, maxQueued: 2, onQueueFull: 'reject' })
      const holding = pool.run('gate f1')
      await stage.said('started', 'f1')
      const queued = [pool.run('echo 1'), pool.run('echo 2')]
      expect(pool.stats().queued).to.equal(2)
      expect((await failureOf(() => pool.run('echo 3'))).code).to.equal('ERR_MR_QUEUE_FULL')
      stage.go('f1')
      await Promise.all([holding, ...queued])
      expect(await text(pool.run('echo 4'))).to.equal('4')
    })

    it('counts its bytes as well', async () => {
      await using pool = make({ concurrency: 1, maxQueuedBytes: 1_000, onQueueFull: 'reject' })
      const holding = pool.run('gate g1')
      await stage.said('started', 'g1')
      const first = pool.run(`echo ${'x'.repeat(600)}`)
      expect((await failureOf(() => pool.run(`echo ${'y'.repeat(600)}`))).code).to.equal('ERR_MR_QUEUE_FULL')
      stage.go('g1')
      await holding
      expect((await first).length).to.equal(600)
    })

    it('waits by default, and runs each once', async () => {
      await using pool = make({ concurrency: 1, maxQueued: 2 })
      const holding = pool.run('gate h1')
      await stage.said('started', 'h1')
      const order: number[] = []
      const tasks = Array.from({ length: 500 }, async (_, i) => {
        const reply = await text(pool.run(`echo ${i}`))
        order.push(i)
        return reply
      })
      stage.go('h1')
      await holding
      expect(await Promise.all(tasks)).to.deep.equal(Array.from({ length: 500 }, (_, i) => String(i)))
      // Not in order: tasks predicted to be light go first.
      expect(order.sort((a, b) => a - b)).to.deep.equal(Array.from({ length: 500 }, (_, i) => i))
    })
  })

  describe('ends', () => {
    it('after what it has, when it is closed', async () => {
      const pool = make({ concurrency: 1 })
      const running = text(pool.run('gate i1'))
      await stage.said('started', 'i1')
      const queued = text(pool.run('echo queued'))
      const closed = pool.close()
      expect((await failureOf(() => pool.run('echo late'))).code).to.equal('ERR_MR_CLOSED')
      stage.go('i1')
      expect(await Promise.all([running, queued])).to.deep.equal(['through i1', 'queued'])
      await closed
    })

    it('at once when it is destroyed, and what is not finished rejects with ERR_MR_CLOSED', async () => {
      const pool = make({ size: 2, concurrency: 1, maxQueued: 1 })
      await pool.ready()
      const tasks = ['loop', 'loop', 'echo queued', 'echo waiting'].map((task) => failureOf(() => pool.run(task)))
      // Without its end the two that loop would take for ever.
      await pool.destroy()
      expect((await Promise.all(tasks)).map((error) => error.code)).to.deep.equal(
        Array.from({ length: 4 }, () => 'ERR_MR_CLOSED'),
      )
      await pool.destroy()
    })

    it('with the reason that destroy() was given', async () => {
      const pool = make()
      const reason = new MultireactorError('ERR_MR_CLOSED', 'enough')
      const task = failureOf(() => pool.run('never'))
      await pool.destroy(reason)
      expect(await task).to.equal(reason)
    })

    it('also when destroy() comes while close() waits for a task that never ends', async () => {
      const pool = make()
      const task = failureOf(() => pool.run('gate j1'))
      await stage.said('started', 'j1')
      const closed = pool.close()
      await pool.destroy()
      expect((await task).code).to.equal('ERR_MR_CLOSED')
      await closed
    })

    it('without any thread left, so that a process ends by itself', () => {
      const { stdout, stderr, status } = spawnSync(process.execPath, [fixture('pool-ends-by-itself.mjs').pathname], {
        encoding: 'utf8',
        timeout: 10_000,
      })
      expect({ stdout, stderr, status }).to.deep.equal({ stdout: 'hello 3\n', stderr: '', status: 0 })
    })
  })
})
