import { type HttpRequest, type HttpResponse, LightResponse } from '@multireactor/http'

/** The ways in which a handler may give its content, `hello`. */
export const ways = ['end', 'bytes', 'write', 'declared', 'nothing'] as const

/** Answers as the target asks: `/WAY?status=S`, and `&field=NAME:VALUE` for each field to append. */
export function answerAsAsked(req: HttpRequest, res: HttpResponse): void {
  res.statusCode = Number(req.query.get('status') ?? 200)
  for (const field of req.query.getAll('field')) {
    const [name, value] = field.split(/:(.*)/s) as [string, string]
    res.appendHeader(name, value)
  }
  switch (req.path.slice(1)) {
    case 'end':
      return res.end('hello')
    case 'bytes':
      return res.end(Buffer.from('hello'))
    case 'write':
      res.write('hel')
      return res.end('lo')
    case 'declared':
      res.setHeader('Content-Length', 5).write('hello')
      return res.end()
    default:
      return res.end()
  }
}

export const fetchWays = ['light', 'native', 'stream', 'later', 'nothing'] as const

/** The same for `fetch`, in its own ways. */
export async function fetchAsAsked(request: Request): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url)
  const status = Number(searchParams.get('status') ?? 200)
  const headers = new Headers()
  for (const field of searchParams.getAll('field')) {
    const [name, value] = field.split(/:(.*)/s) as [string, string]
    headers.append(name, value)
  }
  const init = { status, headers }
  const isNull = [204, 205, 304].includes(status)
  switch (pathname.slice(1)) {
    case 'light':
      return new LightResponse(isNull ? null : 'hello', init) as unknown as Response
    case 'native':
      return new Response(isNull ? null : 'hello', init)
    case 'stream':
      return new Response(isNull ? null : new Blob(['hello']).stream(), init)
    case 'later':
      return new Response(isNull ? null : late(), init)
    default:
      return new Response(null, init)
  }
}

function late(): ReadableStream<Uint8Array> {
  const parts = ['hel', 'lo']
  return new ReadableStream({
    async pull(controller) {
      for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve))
      const part = parts.shift()
      if (part === undefined) controller.close()
      else controller.enqueue(Buffer.from(part))
    },
  })
}
