import { connect, type Socket } from 'node:net'
import { decodeResponse, encode, headerBytes, type Method, mostBytes, type Params, type Result, RpcError } from './protocol.ts'

export interface CallOptions {
  /** Rejects with `timeout`, and cancels the call on the server. Default: the client's. */
  timeoutMs?: number
  /** Aborting it rejects with its reason, and cancels the call on the server. */
  signal?: AbortSignal
}

export interface ClientOptions {
  /** For each call that says nothing else. Default 10,000. */
  timeoutMs?: number
  /** Calls without an answer; one more rejects with `overloaded`. Default 1,000. */
  mostPending?: number
}

interface Pending {
  resolve(result: unknown): void
  reject(error: unknown): void
}

/** One connection, and any number of calls on it at once. */
export class RpcClient {
  readonly #socket: Socket
  readonly #timeoutMs: number
  readonly #mostPending: number
  readonly #pending = new Map<number, Pending>()
  #unread: Buffer = Buffer.alloc(0)
  #lastId = 0
  #lost: RpcError | undefined

  private constructor(socket: Socket, { timeoutMs = 10_000, mostPending = 1_000 }: ClientOptions) {
    this.#socket = socket
    this.#timeoutMs = timeoutMs
    this.#mostPending = mostPending
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('error', (error) => this.#onLost(error.message))
    socket.on('close', () => this.#onLost('the connection has closed'))
  }

  static connect(port: number, host = '127.0.0.1', options: ClientOptions = {}): Promise<RpcClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, host)
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new RpcClient(socket, options))
      })
    })
  }

  /** Calls a method of the server. Rejects with an `RpcError`, whose `code` is one of `ErrorCode`. */
  call<M extends Method>(method: M, params: Params<M>, options: CallOptions = {}): Promise<Result<M>> {
    const { timeoutMs = this.#timeoutMs, signal } = options
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#lost) return Promise.reject(this.#lost)
    if (this.#pending.size >= this.#mostPending) {
      return Promise.reject(new RpcError('overloaded', `${this.#mostPending} calls have no answer yet`))
    }
    const id = ++this.#lastId
    let request: Buffer
    try {
      // Before anything waits for the answer: it throws for params that cannot be sent.
      request = encode({ id, method, params })
    } catch (error) {
      return Promise.reject(new RpcError('bad-request', (error as Error).message))
    }
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        this.#pending.delete(id)
      }
      const cancel = (why: unknown): void => {
        settle()
        this.#socket.write(encode({ cancel: id }))
        reject(why)
      }
      const onAbort = (): void => cancel(signal!.reason)
      const timer = setTimeout(() => cancel(new RpcError('timeout', `${method} had no answer for ${timeoutMs} ms`)), timeoutMs)
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#pending.set(id, {
        resolve(result) {
          settle()
          resolve(result as Result<M>)
        },
        reject(error) {
          settle()
          reject(error)
        },
      })
      this.#socket.write(request)
    })
  }

  /** Calls without an answer reject with `connection-lost`. */
  close(): void {
    this.#socket.destroy()
    this.#onLost('the client was closed')
  }
  [Symbol.dispose](): void {
    this.close()
  }

  #onData(chunk: Buffer): void {
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk])
    let at = 0
    while (this.#unread.length - at >= headerBytes) {
      const length = this.#unread.readUInt32BE(at)
      if (length > mostBytes) {
        this.#socket.destroy()
        return this.#onLost(`the server sent a message of ${length} bytes, at most ${mostBytes} are allowed`)
      }
      const end = at + headerBytes + length
      if (end > this.#unread.length) break
      this.#onResponse(this.#unread.subarray(at + headerBytes, end))
      at = end
    }
    this.#unread = this.#unread.subarray(at)
  }

  #onResponse(body: Buffer): void {
    const response = decodeResponse(body)
    // Of a call that was cancelled, or ran out of time, the answer is no longer of interest. One that names no call leaves its call to its time limit.
    const pending = response && this.#pending.get(response.id)
    if (!pending) return
    if ('error' in response) pending.reject(new RpcError(response.error.code, response.error.message))
    else pending.resolve(response.result)
  }

  #onLost(why: string): void {
    this.#lost ??= new RpcError('connection-lost', why)
    for (const { reject } of [...this.#pending.values()]) reject(this.#lost)
  }
}
