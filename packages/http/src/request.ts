import { Buffer } from 'node:buffer'
import { causedByPeer, MultireactorError } from '@multireactor/addon'
import { http1Info } from '@multireactor/reactor'
import { smallPiece } from '@multireactor/reactor/parts'
import type { StreamedBody } from './body.js'
import { joinChunks } from './chunks.js'
import { lowerName, parseFields } from './fields.js'

/** Where a request came from, and the operations of that place. */
export interface RequestOrigin {
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  /** The id of the connection, for `server.send`. */
  readonly connection: bigint
  /** It came by a listener with `tls`. */
  readonly encrypted: boolean
  /** Aborted when the response is not needed any more. */
  signalOf(request: HttpRequest): AbortSignal
  /** The peer has finished sending. */
  readonly halfClosed: boolean
  /** False: the response has ended, or the connection has closed, before that. */
  whenHalfClosed(): Promise<boolean>
  /** Runs the app's `parse` in the pool. */
  run(bytes: string | Uint8Array): Promise<Buffer>
  /** Runs the app's `task` in the pool. */
  runTask<Result>(value: unknown): Promise<Result>
  /** Memory that `limits.memory` counts. */
  allocate(bytes: number): Buffer
}

const { headMask, head: isHead, http10, chunked } = http1Info
const space = 32
const question = '?'

/** One request. Nothing of it is parsed before it is asked for. */
export class HttpRequest {
  /** @internal Facts about its head from `http1()`: bits of `http1Info`. */
  readonly info: number
  #slab: Buffer
  #start: number
  readonly #length: number
  readonly #origin: RequestOrigin
  #method: string | undefined
  #target: string | undefined
  #fields: Record<string, string> | undefined
  #whole: Buffer | undefined
  #streamed: StreamedBody | undefined

  /** @internal Made by its connection. */
  constructor(
    origin: RequestOrigin,
    slab: Buffer,
    start: number,
    length: number,
    info: number,
    streamed: StreamedBody | undefined,
  ) {
    this.#origin = origin
    this.#slab = slab
    this.#start = start
    this.#length = length
    this.info = info
    this.#streamed = streamed
  }

  /** The method as sent, such as `GET`: case-sensitive (RFC 9110, section 9.1). */
  get method(): string {
    if (this.#method !== undefined) return this.#method
    const slab = this.#slab
    const start = this.#start
    // The bytes of 'GET '.
    if (slab[start] === 0x47 && slab[start + 3] === space) this.#method = 'GET'
    else if ((this.info & isHead) !== 0) this.#method = 'HEAD'
    else this.#method = slab.toString('latin1', start, endOfWord(slab, start))
    return this.#method
  }

  /** The request target, as it was sent: `/path?query` but for proxies' requests. */
  get url(): string {
    if (this.#target !== undefined) return this.#target
    const start = endOfWord(this.#slab, this.#start) + 1
    this.#target = this.#slab.toString('latin1', start, endOfWord(this.#slab, start))
    return this.#target
  }

  /** The target up to its `?`. */
  get path(): string {
    const url = this.url
    const end = url.indexOf(question)
    return end < 0 ? url : url.slice(0, end)
  }

  /** The parameters behind the target's `?`. */
  get query(): URLSearchParams {
    const url = this.url
    const end = url.indexOf(question)
    return new URLSearchParams(end < 0 ? '' : url.slice(end + 1))
  }

  /** The version of the request line. */
  get httpVersion(): '1.0' | '1.1' {
    return (this.info & http10) === 0 ? '1.1' : '1.0'
  }

  /** By their names in lower case. Values of repeated fields are joined by commas. */
  get headers(): Record<string, string> {
    this.#fields ??= parseFields(this.#slab.toString('latin1', this.#start, this.#start + (this.info & headMask)))
    return this.#fields
  }

  /** The value of a field, whose name may be in any case. */
  header(name: string): string | undefined {
    return this.headers[lowerName('header()', name)]
  }

  /** The peer's literal address; undefined for a Unix peer. */
  get remoteAddress(): string | undefined {
    return this.#origin.remoteAddress
  }
  /** The peer's port; undefined for a Unix peer. */
  get remotePort(): number | undefined {
    return this.#origin.remotePort
  }
  /** The id of the connection, for `server.send`. */
  get connection(): bigint {
    return this.#origin.connection
  }
  /** Whether it came by a listener with `tls`. If a proxy ended TLS in front of it, only the request's fields tell. */
  get encrypted(): boolean {
    return this.#origin.encrypted
  }

  /**
   * Aborted when the connection closes before the response has ended: by a reset, or because a write failed. With `halfClose: 'abort'`
   * also by a FIN of the peer.
   */
  get signal(): AbortSignal {
    return this.#origin.signalOf(this)
  }

  /** The peer has finished sending (FIN), and may still wait for the response. Always false in the pool. */
  get halfClosed(): boolean {
    return this.#origin.halfClosed
  }

  /**
   * Resolves to true when `halfClosed` becomes true, or is, and to false when the response ends or the connection closes before. Never
   * rejects. In the pool it resolves to false with the end of the request.
   */
  whenHalfClosed(): Promise<boolean> {
    return this.#origin.whenHalfClosed()
  }

  /** The whole body, when it came with the head; undefined when it arrives in pieces: read it with `bytes`, `text`, `json` or as an iterable. */
  get body(): Buffer | undefined {
    if (this.#streamed) return undefined
    if (this.#whole) return this.#whole
    const bytes = this.#slab.subarray(this.#start + (this.info & headMask), this.#start + this.#length)
    this.#whole = (this.info & chunked) === 0 ? bytes : joinChunks(bytes, (length) => this.#origin.allocate(length))
    return this.#whole
  }

  /** The body, all of it. Rejects with `ERR_MR_CONNECTION_CLOSED` when the rest does not come. */
  bytes(): Promise<Buffer> {
    const whole = this.body
    return whole ? Promise.resolve(whole) : ignorable(this.#streamed!.all())
  }

  /** Resolves to the body decoded as UTF-8. Rejects like `bytes()`. */
  text(): Promise<string> {
    return ignorable(this.bytes().then((bytes) => bytes.toString()))
  }

  /** Resolves to the body parsed as JSON. Rejects like `bytes()`, and with a `SyntaxError`. */
  json(): Promise<unknown> {
    return ignorable(this.bytes().then((bytes) => JSON.parse(bytes.toString()) as unknown))
  }

  /** The pieces of the body as they come. The peer waits when they are not taken. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, void> {
    const streamed = this.#streamed
    if (!streamed) {
      const whole = this.body!
      if (whole.length > 0) yield whole
      return
    }
    for (let piece = await streamed.next(); piece; piece = await streamed.next()) yield piece
  }

  /** The same as a web stream. */
  stream(): ReadableStream<Uint8Array> {
    const pieces = this[Symbol.asyncIterator]()
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const { value } = await pieces.next()
        // A consumer that transfers the chunk detaches its memory, and the memory of a frame is not ours to give away.
        if (value) controller.enqueue(Uint8Array.from(value))
        else controller.close()
      },
    })
  }

  /** @internal Memory is short: copies the head out of its slab. */
  shrink(): void {
    if (this.#length >= smallPiece || this.#slab.length <= this.#length || this.#whole) return
    this.#slab = Buffer.from(this.#slab.subarray(this.#start, this.#start + this.#length))
    this.#start = 0
  }

  /** Runs the app's `parse` in the pool on these bytes, and resolves to its result. */
  run(bytes: string | Uint8Array): Promise<Buffer> {
    return this.#origin.run(bytes)
  }

  /**
   * Runs the app's `task` in the pool on a copy of `value`, as `v8.serialize` takes it, and resolves to a copy of its result. See
   * `Connection.runTask`.
   */
  runTask<Result = unknown>(value: unknown): Promise<Result> {
    return this.#origin.runTask<Result>(value)
  }
}

function endOfWord(bytes: Buffer, from: number): number {
  let at = from
  while (bytes[at] !== space) at++
  return at
}

/** The peer decides whether the rest comes: a rejected body without an `await` must not end the thread. */
function ignorable<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

export function aborted(): MultireactorError {
  return causedByPeer(
    new MultireactorError('ERR_MR_CONNECTION_CLOSED', 'the peer has closed the connection before the response had ended'),
  )
}

/** For `halfClose: 'abort'`. */
export function peerEnded(): MultireactorError {
  return causedByPeer(
    new MultireactorError(
      'ERR_MR_CONNECTION_CLOSED',
      'the peer has ended its side of the connection before the response had ended',
    ),
  )
}
