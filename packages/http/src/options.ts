import { MultireactorError, OptionReader, shown } from '@multireactor/addon'
import type { App } from '@multireactor/core'
import type { FetchHandler } from './fetch_handler.js'
import type { HttpRequest } from './request.js'
import type { ProtocolUpgradeAnswer } from './other_upgrade.js'
import type { HttpResponse } from './response.js'
import { type ReadWebSocketOptions, readWebSocketOptions, type WebSocketOptions } from './websocket_options.js'

/** Options and handlers of `httpApp()`. */
export interface HttpAppOptions<Data = unknown>
  extends Pick<
    App,
    'parse' | 'task' | 'overloaded' | 'onCall' | 'balance' | 'start' | 'stop' | 'noDelay' | 'keepAliveMs' | 'outBuffer'
  > {
  /** Answers one request: now, or later with a promise. Not both this and `fetch`; neither is needed beside `websocket`: 426 then. */
  request?(req: HttpRequest, res: HttpResponse): unknown
  /** As with Bun, Deno and Hono: `httpApp(app)` takes an app that has it. */
  fetch?: FetchHandler
  /** WebSockets on the same port. Only on reactors. */
  websocket?: WebSocketOptions<Data>
  /**
   * Decides about a request with `Upgrade` for another protocol than a WebSocket of `websocket`: its result accepts it;
   * without a result the request is answered as any other. Requests with content, of HTTP/1.0, or that close are not asked about. Only on
   * reactors.
   */
  upgrade?(req: HttpRequest): ProtocolUpgradeAnswer | Promise<ProtocolUpgradeAnswer>
  /** Answers for a handler that threw or rejected, when the response has not begun. Default: 500. The error is reported in any case. */
  error?(error: unknown, req: HttpRequest, res: HttpResponse): unknown
  /** Where the handler runs. In the pool it gets complete bodies, and does not keep a reactor waiting. Default `'reactor'`. */
  run?: 'reactor' | 'pool'
  /** Request line and fields. Default 16 KiB; a longer head is answered with 431, a longer request line with 414. */
  maxHeadBytes?: number
  /** Default 100; more fields are answered with 431. */
  maxHeaders?: number
  /** The decoded request body. Default 1 MiB, 413 above. On reactors bodies stream, and this may be any size. */
  maxBodyBytes?: number
  /** The time for a request's head, or a short or pooled request's whole; 408 then. Default 60,000. 0: for ever. */
  headersTimeoutMs?: number
  /** The time for a whole request whose body streams; 408 then. Default 300,000. 0: for ever. */
  requestTimeoutMs?: number
  /** How long a connection may be silent between two requests. Default 72,000. 0: for ever. */
  keepAliveTimeoutMs?: number
  /** How long a peer may take nothing of a response. Default 60,000. 0: for ever. */
  writeTimeoutMs?: number
  /**
   * The meaning of a FIN while a request is being answered. `'answer'` (default): the peer has finished sending and waits for the
   * response; `req.halfClosed` becomes true. `'abort'`: the peer has left; `req.signal` is aborted too, and later writes of the handler are
   * still sent. Only on reactors.
   */
  halfClose?: 'answer' | 'abort'
  /** Requests of one connection that may be unanswered at a time. Default 1024. */
  maxPipelined?: number
  /** Replaces the global `Response` by the light one, for frameworks that take it from there (Hono). Default false. */
  lightGlobals?: boolean
}

const names = [
  'request',
  'fetch',
  'websocket',
  'upgrade',
  'error',
  'run',
  'maxHeadBytes',
  'maxHeaders',
  'maxBodyBytes',
  'headersTimeoutMs',
  'requestTimeoutMs',
  'keepAliveTimeoutMs',
  'writeTimeoutMs',
  'halfClose',
  'maxPipelined',
  'lightGlobals',
  'parse',
  'task',
  'overloaded',
  'onCall',
  'balance',
  'start',
  'stop',
  'noDelay',
  'keepAliveMs',
  'outBuffer',
] as const

const mostMs = 0x7fff_ffff

/** The options, checked, with their defaults. */
export interface ReadOptions {
  own: HttpAppOptions
  request: NonNullable<HttpAppOptions['request']> | undefined
  fetch: FetchHandler | undefined
  error: NonNullable<HttpAppOptions['error']> | undefined
  run: 'reactor' | 'pool'
  maxHeadBytes: number
  maxHeaders: number
  maxBodyBytes: number
  headersTimeoutMs: number
  requestTimeoutMs: number
  keepAliveTimeoutMs: number
  writeTimeoutMs: number
  halfClose: 'answer' | 'abort'
  maxPipelined: number
  lightGlobals: boolean
  websocket: ReadWebSocketOptions | undefined
}

const passedOn = ['parse', 'task', 'overloaded', 'onCall', 'balance', 'start', 'stop'] as const

/** Throws for options that do not exist, do not fit, or contradict each other. */
export function readOptions<Data>(options: HttpAppOptions<Data>): ReadOptions {
  // A framework's app has members of its own: it is taken for its fetch.
  const own = isPlain(options) ? options : { fetch: bound(options as HttpAppOptions) }
  const read = new OptionReader('httpApp()', own, names)
  const request = read.func<NonNullable<HttpAppOptions['request']>>('request')
  const fetch = read.func<FetchHandler>('fetch')
  const websocket = read.raw('websocket') === undefined ? undefined : readWebSocketOptions(read.raw('websocket'))
  const least = websocket === undefined ? 1 : 0
  const handlers = Number(request !== undefined) + Number(fetch !== undefined)
  if (handlers < least || handlers > 1) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `httpApp(): needs either request or fetch, and has ${request ? 'both' : 'neither'}`,
    )
  }
  const run = read.oneOf('run', 'reactor', ['reactor', 'pool'])
  const upgrade = read.func<NonNullable<HttpAppOptions['upgrade']>>('upgrade')
  // Those that are only passed on: here is where the program wrote them.
  for (const name of passedOn) read.func(name)
  if (run === 'pool' && upgrade !== undefined) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `httpApp(): a connection is never in the pool; leave out run: 'pool', or upgrade`,
    )
  }
  if (run === 'pool' && websocket !== undefined) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `httpApp(): WebSockets live on reactors; leave out run: 'pool', and give heavy work to the pool with req.runTask() and ws.runTask()`,
    )
  }
  if (run === 'pool' && read.raw('parse') !== undefined) {
    throw new MultireactorError('ERR_MR_OPTION_TYPE', `httpApp(): with run: 'pool' the pool runs the handler; leave out parse`)
  }
  if (run === 'pool' && read.raw('halfClose') !== undefined) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `httpApp(): with run: 'pool' no handler hears of a FIN, and every request is answered; leave out halfClose`,
    )
  }
  return {
    own: own as HttpAppOptions,
    request,
    fetch,
    error: read.func<NonNullable<HttpAppOptions['error']>>('error'),
    run,
    maxHeadBytes: read.integer('maxHeadBytes', 16 << 10, 64, (1 << 20) - 1),
    maxHeaders: read.integer('maxHeaders', 100, 1, 10_000),
    maxBodyBytes: read.integer('maxBodyBytes', 1 << 20, 0, run === 'pool' ? 512 << 20 : Number.MAX_SAFE_INTEGER),
    headersTimeoutMs: read.integer('headersTimeoutMs', 60_000, 0, mostMs),
    requestTimeoutMs: read.integer('requestTimeoutMs', 300_000, 0, mostMs),
    keepAliveTimeoutMs: read.integer('keepAliveTimeoutMs', 72_000, 0, mostMs),
    writeTimeoutMs: read.integer('writeTimeoutMs', 60_000, 0, mostMs),
    halfClose: read.oneOf('halfClose', 'answer', ['answer', 'abort']),
    maxPipelined: read.integer('maxPipelined', 1024, 1, 1 << 20),
    lightGlobals: read.boolean('lightGlobals', false),
    websocket,
  }
}

function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) {
    throw new MultireactorError('ERR_MR_OPTION_TYPE', `httpApp(): needs an object with request or fetch, and got ${shown(value)}`)
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function bound(app: HttpAppOptions): FetchHandler | undefined {
  return typeof app.fetch === 'function' ? (app.fetch.bind(app) as FetchHandler) : undefined
}
