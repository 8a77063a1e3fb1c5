import type { TaskContext } from '@multireactor/core'
import { http1Info } from '@multireactor/reactor'
import { HttpRequest, type RequestOrigin } from './request.js'
import type { RequestHandler } from './http_settings.js'
import { isThenable } from './thenable.js'
import { type Bytes, HttpResponse, type ResponseTarget } from './response.js'
import { parseFields } from './fields.js'
import { MultireactorError } from '@multireactor/addon'

const { close, http10: isHttp10, head: isHead, chunked } = http1Info

/** The framer's facts about the frame, from its bytes: only these arrive here. They have been checked. */
export function infoOf(frame: Buffer): number {
  const end = frame.indexOf('\r\n\r\n', 0, 'latin1') + 4
  const head = frame.toString('latin1', 0, end)
  const fields = parseFields(head)
  let info = end
  const http10 = head.slice(0, head.indexOf('\r\n')).endsWith('1.0')
  const connection = (fields['connection'] ?? '')
    .toLowerCase()
    .split(',')
    .map((option) => option.trim())
  if (http10) info |= isHttp10
  if (connection.includes('close') || (http10 && !connection.includes('keep-alive'))) info |= close
  if (head.startsWith('HEAD ')) info |= isHead
  if (fields['transfer-encoding'] !== undefined) info |= chunked
  return info
}

/** One request in a pool worker: its whole bytes in, its response as the reply of the frame. */
export class PoolExchange implements ResponseTarget, RequestOrigin {
  readonly #ctx: TaskContext
  readonly #info: number
  readonly request: HttpRequest
  readonly response: HttpResponse
  #result: Bytes | undefined
  #settle: ((result: Bytes | undefined) => void) | undefined
  #reject: ((error: unknown) => void) | undefined
  #done = false
  #gone = false
  /** The handler has returned a promise that has not settled. */
  #running = false
  #watches = false
  #onLeave: ((reason: Error) => void) | undefined
  #waitingForEnd: ((halfClosed: boolean) => void)[] | undefined
  #writing: Promise<void> | undefined

  constructor(frame: Buffer, ctx: TaskContext) {
    this.#ctx = ctx
    this.#info = infoOf(frame)
    this.request = new HttpRequest(this, frame, 0, frame.length, this.#info, undefined)
    this.response = new HttpResponse(this, this.#info)
  }

  /** The reply of the frame. Rejects with the error of the handler. */
  handle(handler: RequestHandler): Bytes | undefined | Promise<Bytes | undefined> {
    const result = handler(this.request, this.response)
    if (this.#done && this.#writing === undefined) {
      if (isThenable(result)) result.then(undefined, () => {})
      return this.#result
    }
    return new Promise((resolve, reject) => {
      this.#settle = resolve
      this.#reject = reject
      if (isThenable(result)) {
        this.#running = true
        result.then(() => this.#returned(), reject)
      }
      if (this.#done) this.#finish()
    })
  }

  whole(bytes: Bytes, closes: boolean): void {
    this.last(bytes, closes)
  }

  /** The response of a peer that has gone ends with its handler: nothing that it sends has an effect. */
  #returned(): void {
    this.#running = false
    if (this.#gone) this.#finish()
  }

  part(bytes: Bytes): boolean {
    this.#watch()
    const writing = this.#ctx.write(bytes)
    this.#writing = writing
    writing.catch((error: unknown) => this.#reject?.(error))
    return false
  }

  last(bytes: Bytes, closes: boolean): void {
    if (closes) this.#ctx.end()
    this.#result = bytes
    this.#done = true
    this.#finish()
  }

  #finish(): void {
    this.#settle?.(this.#result)
    for (const resolve of this.#waitingForEnd?.splice(0) ?? []) resolve(false)
  }

  /** A response in one piece needs to know nothing of its peer. */
  #watch(): void {
    if (this.#watches) return
    this.#watches = true
    const { signal } = this.#ctx
    const leave = (): void => {
      if (this.#done) return
      this.#gone = true
      this.response.drop()
      this.#onLeave?.(signal.reason as Error)
      // The error hook of the app answers, now or later: the outcome of this handler must not come before it.
      if ((signal.reason as MultireactorError).code === 'ERR_MR_TASK_TIMEOUT') this.#settle = undefined
      if (!this.#running) this.#finish()
    }
    if (signal.aborted) leave()
    else signal.addEventListener('abort', leave, { once: true })
  }

  onLeave(callback: ((reason: Error) => void) | undefined): void {
    this.#onLeave = callback
    if (callback) this.#watch()
  }

  /** The frame runs to its end, and its reply is counted as `repliesLate`. */
  countLateCall(): void {}

  destroy(): void {
    this.#done = true
    this.#ctx.destroy()
    this.#result = undefined
    this.#finish()
  }

  mustClose(): boolean {
    return (this.#info & close) !== 0
  }

  async room(): Promise<void> {
    await this.#writing?.catch(() => {})
  }

  get remoteAddress(): string | undefined {
    return this.#ctx.remoteAddress
  }
  get remotePort(): number | undefined {
    return this.#ctx.remotePort
  }
  get connection(): bigint {
    return this.#ctx.connection
  }
  get encrypted(): boolean {
    return this.#ctx.encrypted
  }
  allocate(bytes: number): Buffer {
    return this.#ctx.allocate(bytes)
  }
  signalOf(): AbortSignal {
    return this.#ctx.signal
  }
  /** A worker hears of the end of a connection, not of a FIN. */
  get halfClosed(): boolean {
    return false
  }
  whenHalfClosed(): Promise<boolean> {
    if (this.#done || this.#gone) return Promise.resolve(false)
    return new Promise((resolve) => {
      this.#waitingForEnd ??= []
      this.#waitingForEnd.push(resolve)
    })
  }
  run(): Promise<Buffer> {
    return inPoolAlready('req.run()')
  }
  runTask(): Promise<never> {
    return inPoolAlready('req.runTask()')
  }
}

function inPoolAlready(call: string): Promise<never> {
  return Promise.reject(new MultireactorError('ERR_MR_NO_POOL', `${call}: this request is in the pool already`))
}
