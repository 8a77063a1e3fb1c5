import { type HttpRequest, type HttpResponse, httpApp } from 'multireactor'
import { type Verdict, validate } from './validate.ts'

// Light routes are answered on the reactor. An order's document is checked in the pool: however large it is, no other client waits.
async function route(req: HttpRequest, res: HttpResponse): Promise<void> {
  switch (`${req.method} ${req.path}`) {
    case 'GET /health':
      return res.end('ok\n')
    case 'GET /version':
      return json(res, 200, { version: 1 })
    case 'POST /orders': {
      const { status, body } = await req.runTask<Verdict>(await req.bytes())
      return json(res, status, body)
    }
    default:
      return json(res, 404, { error: 'there is nothing here' })
  }
}

function json(res: HttpResponse, status: number, body: object): void {
  res.status(status).setHeader('Content-Type', 'application/json').end(JSON.stringify(body))
}

export default httpApp({
  maxBodyBytes: 8 << 20,
  request: route,
  // In the pool.
  task: (bytes: Uint8Array) => validate(bytes),
  // The client learns that the fault is the server's, and no internal details.
  error(error, _req, res) {
    console.error(error)
    json(res, 500, { error: 'internal error' })
  },
})
