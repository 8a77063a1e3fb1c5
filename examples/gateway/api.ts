import { timingSafeEqual } from 'node:crypto'
import {
  type HttpRequest,
  type HttpResponse,
  httpApp,
  prometheusContentType,
  prometheusText,
  type ServerHandle,
} from 'multireactor'
import { askAll } from './asked.ts'
import { metricsText } from './counts.ts'
import { idForm, mostCommandBytes } from './protocol.js'
import { readSettings } from './settings.js'

const expected = Buffer.from(`Bearer ${readSettings(process.env).apiToken}`)
const mostListed = 1_000
let server: ServerHandle

// The app of the listener `api` alone. A device may be connected to any reactor: all of them are asked.
export default httpApp({
  // Larger bodies get a 413.
  maxBodyBytes: mostCommandBytes,

  start(context) {
    server = context.server
  },

  async request(req, res) {
    if (!isAllowed(req)) return json(res.setHeader('WWW-Authenticate', 'Bearer'), 401, { error: 'a token is needed' })
    if (req.method === 'GET' && req.path === '/metrics') {
      const text = metricsText(await askAll(server, { ask: 'counts' }))
      return res.setHeader('Content-Type', prometheusContentType).end(text + prometheusText(server.stats()))
    }
    if (req.method === 'GET' && req.path === '/devices') {
      const devices = (await askAll(server, { ask: 'devices', most: mostListed })).flat()
      return json(res, 200, { devices: devices.slice(0, mostListed) })
    }
    const device = /^\/devices\/([^/]+)\/command$/.exec(req.path)?.[1]
    if (req.method !== 'POST' || device === undefined || !idForm.test(device))
      return json(res, 404, { error: 'there is nothing here' })
    await command(res, device, Buffer.from(await req.bytes()))
  },

  error(error, _req, res) {
    console.error(error)
    json(res, 500, { error: 'internal error' })
  },
})

const refusals = {
  elsewhere: { status: 404, error: 'the device is not connected' },
  busy: { status: 429, error: 'too many commands wait for this device' },
  gone: { status: 502, error: 'the device has gone; whether it has run the command is not known' },
  timeout: { status: 504, error: 'the device has not answered; whether it has run the command is not known' },
}

async function command(res: HttpResponse, device: string, bytes: Buffer): Promise<void> {
  const answers = await askAll(server, { ask: 'command', device, bytes: bytes.toString('base64') })
  const answer = answers.find(({ outcome }) => outcome !== 'elsewhere') ?? { outcome: 'elsewhere' as const }
  if (answer.outcome === 'result') {
    res.setHeader('Content-Type', 'application/octet-stream').end(Buffer.from(answer.bytes, 'base64'))
    return
  }
  const { status, error } = refusals[answer.outcome]
  json(res, status, { error })
}

function isAllowed(req: HttpRequest): boolean {
  const given = Buffer.from(req.header('authorization') ?? '')
  return given.length === expected.length && timingSafeEqual(given, expected)
}

function json(res: HttpResponse, status: number, body: object): void {
  res
    .status(status)
    .setHeader('Content-Type', 'application/json')
    .end(`${JSON.stringify(body)}\n`)
}
