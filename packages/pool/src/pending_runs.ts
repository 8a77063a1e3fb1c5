import { type NativePort, replyFlag } from '@multireactor/addon'

/** Work that a thread without connections hands to the pool. */
export interface RunRequest {
  listener: number
  bytes: string | Uint8Array
  /** For `task`, not for `parse`. */
  isValue: boolean
  signal: AbortSignal | undefined
}

interface Run extends RunRequest {
  resolve(result: Buffer): void
  reject(error: unknown): void
  onAbort: (() => void) | undefined
  parts: Buffer[]
}

/** The outcome of each run: one result, one error, or the signal's reason. Belongs to the thread of its port. */
export class PendingRuns {
  readonly #port: Pick<NativePort, 'run' | 'forget' | 'awaitRoom'>
  /** By the port's number. */
  readonly #running = new Map<number, Run>()
  /** In the order in which they came. */
  readonly #forRoom = new Set<Run>()
  readonly #onChange: () => void
  readonly #failureOf: (flags: number, bytes: Buffer) => Error

  /** `onChange`: the first one has come, or the last one has gone. */
  constructor(
    port: Pick<NativePort, 'run' | 'forget' | 'awaitRoom'>,
    onChange: () => void,
    failureOf: (flags: number, bytes: Buffer) => Error,
  ) {
    this.#port = port
    this.#onChange = onChange
    this.#failureOf = failureOf
  }

  get size(): number {
    return this.#running.size + this.#forRoom.size
  }

  /** Undefined when the queue is full and `waits` is false. */
  add(request: RunRequest, waits: boolean): Promise<Buffer> | undefined {
    let run!: Run
    const promise = new Promise<Buffer>((resolve, reject) => {
      run = { ...request, resolve, reject, onAbort: undefined, parts: [] }
    })
    if (this.#forRoom.size === 0 && this.#submit(run)) return promise
    if (!waits) return undefined
    // The caller's again when this has returned. Values have been copied already.
    if (!run.isValue && typeof run.bytes !== 'string') run.bytes = new Uint8Array(run.bytes)
    this.#forRoom.add(run)
    this.#watch(run, () => {
      this.#forRoom.delete(run)
      this.#changed(this.size === 0)
    })
    this.#port.awaitRoom()
    this.#changed(this.size === 1)
    return promise
  }

  /** Of the port. */
  onResult(number: number, flags: number, bytes: Buffer): void {
    const run = this.#running.get(number)
    if (!run) return
    if (!(flags & replyFlag.last)) return void run.parts.push(bytes)
    this.#take(number, run)
    if (flags & replyFlag.error) run.reject(this.#failureOf(flags, bytes))
    else run.resolve(run.parts.length === 0 ? bytes : Buffer.concat([...run.parts, bytes]))
  }

  /** Of the port. */
  onRoom(): void {
    for (const run of this.#forRoom) {
      if (!this.#submit(run)) return this.#port.awaitRoom()
      this.#forRoom.delete(run)
    }
  }

  /** Rejects all pending runs. */
  failAll(reason: unknown): void {
    const waiting = [...this.#forRoom]
    this.#forRoom.clear()
    for (const run of waiting) {
      unwatch(run)
      run.reject(reason)
    }
    for (const [number, run] of [...this.#running]) {
      this.#port.forget(number)
      this.#take(number, run)
      run.reject(reason)
    }
    this.#changed(waiting.length > 0)
  }

  #submit(run: Run): boolean {
    const number = this.#port.run(run.listener, run.bytes, run.isValue)
    if (number < 0) return false
    this.#running.set(number, run)
    this.#watch(run, () => {
      this.#port.forget(number)
      this.#take(number, run)
    })
    this.#changed(this.size === 1)
    return true
  }

  #watch(run: Run, give: () => void): void {
    if (!run.signal) return
    unwatch(run)
    run.onAbort = () => {
      give()
      run.reject(run.signal!.reason)
    }
    run.signal.addEventListener('abort', run.onAbort, { once: true })
  }

  #take(number: number, run: Run): void {
    this.#running.delete(number)
    unwatch(run)
    this.#changed(this.size === 0)
  }

  #changed(so: boolean): void {
    if (so) this.#onChange()
  }
}

function unwatch(run: Run): void {
  if (run.onAbort) run.signal?.removeEventListener('abort', run.onAbort)
  run.onAbort = undefined
}
