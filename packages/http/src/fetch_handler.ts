import { MultireactorError, shown } from '@multireactor/addon'
import { hasUrl, knowLightRequests, LightRequest } from './fetch_request.js'
import { LightResponse } from './fetch_response.js'
import type { RequestHandler } from './http_settings.js'
import type { HttpRequest } from './request.js'
import { HttpResponse } from './response.js'
import { isThenable } from './thenable.js'
import type { UnreadBodies } from './unread_bodies.js'
import type { FieldsInit } from './web_types.js'

/** As with Bun, Deno and Hono. */
export type FetchHandler = (request: Request, ...rest: never[]) => Response | Promise<Response>

/** A handler for whole responses as one that writes them. */
export function fromFetch(app: { fetch: FetchHandler }, unread: UnreadBodies): RequestHandler {
  knowLightRequests()
  return (req, res) => {
    // RFC 9112, section 3.2. The peer's mistake, so nothing of the app is called, and nothing is logged.
    if (!hasUrl(req)) return res.abandon(400, false)
    // Hono's adapters call the second argument the environment.
    const fetch = app.fetch as unknown as (request: LightRequest, env: { source: HttpRequest }) => unknown
    const answer = fetch.call(app, new LightRequest(req), { source: req })
    return isThenable(answer) ? answer.then((response) => respond(req, res, response, unread)) : respond(req, res, answer, unread)
  }
}

function respond(req: HttpRequest, res: HttpResponse, response: unknown, unread: UnreadBodies): void | Promise<void> {
  if (LightResponse.isLight(response)) {
    const parts = LightResponse.partsOf(response)
    if (parts) {
      unread.sawLight()
      res.statusCode = response.status
      const typed = setFields(res, parts.fields)
      if (parts.type !== undefined && !typed) res.appendHeader('Content-Type', parts.type)
      return res.end(parts.body)
    }
  } else if (!(response instanceof globalThis.Response)) {
    throw new MultireactorError('ERR_MR_HTTP', `fetch() must return a Response, and returned ${shown(response)}`)
  }
  return stream(req, res, response as Response, unread)
}

/** True when there is a content type among them. */
function setFields(res: HttpResponse, fields: FieldsInit | undefined): boolean {
  if (fields === undefined) return false
  let typed = false
  const set = (name: string, value: string): void => {
    const lower = name.toLowerCase()
    if (lower === 'content-type') typed = true
    if (lower !== 'transfer-encoding') res.appendHeader(name, value)
  }
  if (Symbol.iterator in fields) for (const [name, value] of fields as Iterable<[string, string]>) set(name, value)
  else for (const name of Object.keys(fields)) set(name, String((fields as Record<string, string>)[name]))
  return typed
}

async function stream(req: HttpRequest, res: HttpResponse, response: Response, unread: UnreadBodies): Promise<void> {
  res.statusCode = response.status
  setFields(res, response.headers)
  const reader = response.body?.getReader()
  if (!reader) return res.end()
  unread.sawStream()
  const cancel = (reason?: Error): void => void reader.cancel(reason).catch(() => {})
  // A handler that leaves a HEAD request's content unread has finished with it.
  if (req.method === 'HEAD' || res.ended) {
    cancel()
    return res.end()
  }
  // Not the request's signal: with `halfClose: 'abort'` that comes while the peer may still take the response.
  HttpResponse.onLeave(res, cancel)
  try {
    await pump(res, reader, unread)
  } finally {
    HttpResponse.onLeave(res, undefined)
    cancel()
  }
}

type Reader = ReadableStreamDefaultReader<Uint8Array>
type Read = Awaited<ReturnType<Reader['read']>>

async function pump(res: HttpResponse, reader: Reader, unread: UnreadBodies): Promise<void> {
  let next = readAhead(reader)
  let read = await withinTurn(next)
  // The head leaves before the content: a client of an event stream knows that events will come.
  if (read === undefined) res.write('')
  read ??= await next
  while (!read.done && !res.ended) {
    const chunk: Uint8Array = read.value
    unread.sawPiece(chunk.length)
    next = readAhead(reader)
    const isWhole = !res.headersSent && (await withinTurn(next))?.done === true
    if (res.ended) return
    if (isWhole) return res.end(chunk)
    if (!res.write(chunk)) await res.drained()
    read = await next
  }
  if (!res.ended) res.end()
}

/** If the client leaves before the first chunk is read, the failure of the read is ignored. */
function readAhead(reader: Reader): Promise<Read> {
  const read = reader.read()
  read.catch(() => {})
  return read
}

/** Content that is there already leaves in one piece, with its length: its end comes without any event of the system. */
async function withinTurn(reading: Promise<Read>): Promise<Read | undefined> {
  let read: Read | undefined
  const settled = reading.then((value) => {
    read = value
  })
  for (let i = 0; i < 4 && read === undefined; i++) await undefined
  if (read === undefined) await Promise.race([settled, new Promise(setImmediate)])
  return read
}
