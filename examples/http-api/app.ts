import { type HttpRequest, type HttpResponse, httpApp } from 'multireactor'
import { validate } from './validate.ts'

// Light routes are answered on the reactor. An order's document is checked in the pool: however large it is, nobody else waits.
async function route(req: HttpRequest, res: HttpResponse): Promise<void> {
  switch (`${req.method} ${req.path}`) {
    case 'GET /health':
      return res.end('ok\n')
    case 'GET /version':
      return json(res, 200, { version: 1 })
    case 'POST /orders': {
      const verdict = await req.run(await req.bytes())
      // An object is a total, a list is what is wrong.
      return json(res, verdict[0] === 0x7b ? 200 : 422, verdict)
    }
    default:
      return json(res, 404, { error: 'there is nothing here' })
  }
}

function json(res: HttpResponse, status: number, body: unknown): void {
  const text = body instanceof Uint8Array ? body : JSON.stringify(body)
  res.status(status).setHeader('Content-Type', 'application/json').end(text)
}

export default httpApp({
  maxBodyBytes: 8 << 20,
  request: route,
  // In the pool: bytes in, bytes out.
  parse: (bytes) => JSON.stringify(validate(bytes)),
  error: (error, _req, res) => json(res, 500, { error: error instanceof Error ? error.message : 'unknown' }),
})
