import { MultireactorError, shown } from '@multireactor/addon'
import { LightRequest } from './fetch_request.js'
import { LightResponse } from './fetch_response.js'
import type { RequestHandler } from './http_connection.js'
import type { HttpRequest } from './request.js'
import type { HttpResponse } from './response.js'
import { isThenable } from './thenable.js'
import type { FieldsInit } from './web_types.js'

/** As with Bun, Deno and Hono. */
export type FetchHandler = (request: Request, ...rest: never[]) => Response | Promise<Response>

/** A handler for whole responses as one that writes them. */
export function fromFetch(app: { fetch: FetchHandler }): RequestHandler {
  return (req, res) => {
    // The second argument is what Hono's adapters call the environment.
    const fetch = app.fetch as unknown as (request: LightRequest, env: { source: HttpRequest }) => unknown
    const answer = fetch.call(app, new LightRequest(req), { source: req })
    return isThenable(answer) ? answer.then((response) => respond(req, res, response)) : respond(req, res, answer)
  }
}

function respond(req: HttpRequest, res: HttpResponse, response: unknown): void | Promise<void> {
  if (response instanceof LightResponse) {
    const parts = LightResponse.partsOf(response)
    if (parts) {
      res.statusCode = response.status
      const typed = setFields(res, parts.fields)
      if (parts.type !== undefined && !typed) res.appendHeader('Content-Type', parts.type)
      return res.end(parts.body)
    }
  } else if (!(response instanceof globalThis.Response)) {
    throw new MultireactorError('ERR_MR_HTTP', `fetch() must return a Response, and returned ${shown(response)}`)
  }
  return stream(req, res, response as Response)
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

async function stream(req: HttpRequest, res: HttpResponse, response: Response): Promise<void> {
  res.statusCode = response.status
  setFields(res, response.headers)
  const reader = response.body?.getReader()
  if (!reader) return res.end()
  if (req.method === 'HEAD') {
    await reader.cancel()
    return res.end()
  }
  const first = await reader.read()
  if (first.done) return res.end()
  // A body that is here already leaves in one piece, with its length: its end comes within a few microtasks.
  const next = reader.read()
  let second: Awaited<typeof next> | undefined
  next.then(
    (read) => {
      second = read
    },
    () => {},
  )
  for (let i = 0; i < 4 && second === undefined; i++) await undefined
  if (second?.done) return res.ended ? undefined : res.end(first.value)
  return pump(req, res, reader, first.value, next)
}

type Reader = ReadableStreamDefaultReader<Uint8Array>

async function pump(
  req: HttpRequest,
  res: HttpResponse,
  reader: Reader,
  first: Uint8Array,
  second: ReturnType<Reader['read']>,
): Promise<void> {
  const { signal } = req
  // Whoever leaves the loop before it is read is not interested in its failure.
  second.catch(() => {})
  const cancel = (): void => void reader.cancel(signal.reason).catch(() => {})
  signal.addEventListener('abort', cancel, { once: true })
  try {
    let next = second
    let chunk: Uint8Array | undefined = first
    while (chunk !== undefined && !res.ended) {
      if (!res.write(chunk)) await res.drained()
      const read = await next
      chunk = read.done ? undefined : read.value
      if (chunk === undefined) continue
      next = reader.read()
      next.catch(() => {})
    }
    if (!res.ended) res.end()
  } finally {
    signal.removeEventListener('abort', cancel)
    cancel()
  }
}
