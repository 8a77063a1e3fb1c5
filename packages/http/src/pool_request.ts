import type { TaskContext } from '@multireactor/core'
import { http1Info } from '@multireactor/reactor'
import { HttpRequest, type RequestOrigin } from './request.js'
import type { RequestHandler } from './http_connection.js'
import { isThenable } from './thenable.js'
import { type Bytes, HttpResponse, type ResponseTarget } from './response.js'
import { parseFields } from './fields.js'
import { MultireactorError } from '@multireactor/addon'

const { close, http10: isHttp10, head: isHead, chunked } = http1Info

/** What a reactor would have said of the frame: here only its bytes arrive. They have been checked. */
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
  #writing: Promise<void> | undefined

  constructor(frame: Buffer, ctx: TaskContext) {
    this.#ctx = ctx
    this.#info = infoOf(frame)
    this.request = new HttpRequest(this, frame, 0, frame.length, this.#info, undefined)
    this.response = new HttpResponse(this, this.#info)
  }

  /** The reply of the frame. Rejects with what the handler threw. */
  handle(handler: RequestHandler): Bytes | undefined | Promise<Bytes | undefined> {
    const result = handler(this.request, this.response)
    if (this.#done && this.#writing === undefined) {
      if (isThenable(result)) result.then(undefined, () => {})
      return this.#result
    }
    return new Promise((resolve, reject) => {
      this.#settle = resolve
      this.#reject = reject
      if (isThenable(result)) result.then(undefined, reject)
      if (this.#done) this.#finish()
    })
  }

  whole(bytes: Bytes, closes: boolean): void {
    this.last(bytes, closes)
  }

  part(bytes: Bytes): boolean {
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
  }

  /** The frame runs to its end, and what comes of it is counted as `repliesLate`. */
  countLateCall(): void {}

  destroy(): void {
    this.#done = true
    this.#ctx.destroy()
    this.#settle?.(undefined)
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
  run(): Promise<Buffer> {
    return Promise.reject(new MultireactorError('ERR_MR_NO_POOL', 'req.run(): this request is in the pool already'))
  }
}
