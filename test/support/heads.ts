import type { HttpRequest, HttpResponse } from '@multireactor/http'

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
