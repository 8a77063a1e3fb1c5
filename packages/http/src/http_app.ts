import { MultireactorError, restoreFlag, restoreWindowShift } from '@multireactor/addon'
import type { App, TaskContext } from '@multireactor/core'
import { type Framing, http1 } from '@multireactor/reactor'
import { type ConnectionLink, type EngineSide, linkOf, type MessageIn, withEngineSide } from '@multireactor/reactor/parts'
import { fromFetch } from './fetch_handler.js'
import { LightResponse } from './fetch_response.js'
import { HttpConnection, refusal } from './http_connection.js'
import type { HttpSettings, RequestHandler } from './http_settings.js'
import { type HttpAppOptions, type ReadOptions, readOptions } from './options.js'
import { PoolExchange } from './pool_request.js'
import type { HttpRequest } from './request.js'
import type { HttpResponse } from './response.js'
import { UnreadBodies } from './unread_bodies.js'
import { WebSocketConnection, type WebSocketState } from './websocket_connection.js'
import { WebSocketSettings } from './websocket_settings.js'

/** The result of `httpApp`: an app, and options of `reactor.listen`. */
export type HttpApp = App & { framing: Framing }

/**
 * An HTTP/1.1 app: the default export of an app module, or the handlers for `reactor.listen`.
 *
 * ```ts
 * export default httpApp({ request(req, res) { res.end(`hello ${req.path}`) } })
 * export default httpApp({ fetch: (request) => new Response(`hello ${request.url}`) })
 * ```
 */
export function httpApp<Data = undefined>(options: HttpAppOptions<Data>): HttpApp {
  const settled = readOptions(options)
  if (settled.lightGlobals) globalThis.Response = LightResponse as unknown as typeof Response
  const { request, fetch, own } = settled
  const unread = fetch && !request ? new UnreadBodies() : undefined
  // The handlers keep their `this`.
  const handler: RequestHandler = request
    ? (req, res) => request.call(own, req, res)
    : unread
      ? fromFetch({ fetch: fetch!.bind(own) as typeof fetch & {} }, unread)
      : onlyWebSockets
  return settled.run === 'pool' ? inPool(settled, handler) : onReactors(settled, handler, unread)
}

function common(settled: ReadOptions, body: 'whole' | 'stream'): HttpApp {
  const { own } = settled
  const app: HttpApp = {
    framing: http1({
      maxHeadBytes: settled.maxHeadBytes,
      maxHeaders: settled.maxHeaders,
      maxBodyBytes: settled.maxBodyBytes,
      body,
    }),
    firstByteTimeoutMs: settled.headersTimeoutMs,
    frameTimeoutMs: settled.headersTimeoutMs,
    idleTimeoutMs: settled.keepAliveTimeoutMs,
    writeTimeoutMs: settled.writeTimeoutMs,
    maxInFlight: settled.maxPipelined,
    allowHalfOpen: false,
  }
  for (const name of ['noDelay', 'keepAliveMs', 'outBuffer'] as const) {
    if (own[name] !== undefined) Object.assign(app, { [name]: own[name] })
  }
  if (own.task) app.task = (value, ctx) => own.task!(value, ctx)
  if (own.onCall) app.onCall = (bytes, context) => own.onCall!(bytes, context)
  if (own.balance) app.balance = (peer, context) => own.balance!(peer, context)
  if (own.start) app.start = (context) => own.start!(context)
  if (own.stop) app.stop = () => own.stop!()
  return app
}

function onReactors(settled: ReadOptions, handler: RequestHandler, unread: UnreadBodies | undefined): HttpApp {
  const { own, error } = settled
  const settings: HttpSettings = {
    handler,
    onError: error ? (failure, req, res) => error.call(own, failure, req, res) : answer500,
    maxBodyBytes: settled.maxBodyBytes,
    requestTimeoutMs: settled.requestTimeoutMs,
    endAborts: settled.halfClose === 'abort',
    webSockets: settled.websocket && new WebSocketSettings(settled.websocket),
    upgrades: own.upgrade && ((req) => own.upgrade!(req)),
    unread,
  }
  const onSlab: MessageIn = (conn, slab, start, length, info) => httpOf(conn, settings).onFrame(slab, start, length, info)
  const app: HttpApp = {
    ...common(settled, 'stream'),
    message: (conn, frame, info) => httpOf(linkOf(conn), settings).onFrame(frame, 0, frame.length, info),
    badFrame: (conn, failure) => httpOf(linkOf(conn), settings).onBadFrame(failure),
    end: (conn) => httpOf(linkOf(conn), settings).onEnd(),
    drain: (conn) => httpOf(linkOf(conn), settings).onDrain(),
    close: (conn, reason) => httpOf(linkOf(conn), settings).onClose(reason),
  }
  const side: EngineSide = {
    messageIn: onSlab,
    ...(settings.webSockets ? withWebSockets(app, settings, settings.webSockets) : {}),
  }
  if (settled.websocket) app.maxPendingMessages = settled.websocket.maxPendingMessages
  if (own.parse) app.parse = (frame, ctx) => own.parse!(frame, ctx)
  if (own.overloaded) app.overloaded = (frame, ctx) => own.overloaded!(frame, ctx)
  return withEngineSide(app, side)
}

// biome-ignore lint/suspicious/noExplicitAny: the data of the connections belongs to the app
function httpOf(link: ConnectionLink<any>, settings: HttpSettings): HttpConnection {
  const known = link.protocol
  if (known !== undefined) return known as HttpConnection
  const http = new HttpConnection(link, settings)
  link.protocol = http
  return http
}

function withWebSockets(app: HttpApp, settings: HttpSettings, webSockets: WebSocketSettings): EngineSide {
  app.suspend = (conn) => httpOf(linkOf(conn), settings).socket?.suspend()
  app.restore = (conn, state) => {
    const link = linkOf(conn)
    const { resumed } = link
    if ((resumed & restoreFlag.webSocket) === 0) return
    const known = state as WebSocketState | undefined
    const socket = new WebSocketConnection(link, webSockets, known?.protocol ?? '', resumed >>> restoreWindowShift)
    httpOf(link, settings).socket = socket
    return socket.restore(known, (resumed & restoreFlag.dataLost) !== 0) as undefined
  }
  return { beforeDrain: (boundOnly) => webSockets.goAway(boundOnly) }
}

function onlyWebSockets(_req: HttpRequest, res: HttpResponse): void {
  res.status(426).setHeader('Upgrade', 'websocket').setHeader('Connection', 'Upgrade').end()
}

function answer500(_error: unknown, _req: HttpRequest, res: HttpResponse): void {
  res.abandon(500, false)
}

function inPool(settled: ReadOptions, handler: RequestHandler): HttpApp {
  const { own, error } = settled
  const refuse = (status: number, ctx: TaskContext): string => {
    ctx.end()
    return refusal(status)
  }
  return {
    ...common(settled, 'whole'),
    parse(frame, ctx) {
      const exchange = new PoolExchange(frame, ctx)
      return exchange.handle(handler)
    },
    async error(failure, frame, ctx) {
      // The worker may still be at work on it, or it may have begun to answer.
      if (failure instanceof MultireactorError && failure.code === 'ERR_MR_TASK_TIMEOUT') return refuse(503, ctx)
      if (!error) {
        ctx.reportError(failure)
        return refuse(500, ctx)
      }
      const exchange = new PoolExchange(frame, ctx)
      return exchange.handle((req, res) => error.call(own, failure, req, res))
    },
    overloaded: own.overloaded ? (frame, ctx) => own.overloaded!(frame, ctx) : (_frame, ctx) => refuse(503, ctx),
    badFrame(conn, { code, reason }) {
      conn.write(refusal(code !== 0 ? code : reason === 'frame-timeout' ? 408 : 400))
    },
  }
}
