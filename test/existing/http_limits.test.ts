import { once } from 'node:events'
import http from 'node:http'
import type net from 'node:net'
import type { ExistingServer } from '@multireactor/reactor'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'
import { connectTo, onBoth, readAll, type Side } from './sides.js'

type Handler = http.RequestListener

/** Long enough that the other limits do not meet first; short enough to wait for. */
const shortMs = 300

function server(options: http.ServerOptions, handler: Handler = (_request, response) => void response.end('hello')) {
  return () => http.createServer({ connectionsCheckingInterval: 20, ...options }, handler)
}

/** The status line and the end of the response to a raw request. */
async function talk(side: Side, ...parts: string[]): Promise<{ status: string; ended: true }> {
  const client = await connectTo(side)
  for (const part of parts) client.write(part)
  const answer = await readAll(client)
  return { status: answer.split('\r\n')[0]!, ended: true }
}

const get = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'

/** A client that has had its answer, and one whose `/slow` request the server is answering. */
async function idleAndBusy(side: Side, made: ExistingServer): Promise<{ idle: net.Socket; busy: net.Socket }> {
  const idle = await connectTo(side)
  idle.write(get)
  await once(idle, 'data')
  const busy = await connectTo(side)
  const asked = once(made, 'request')
  busy.write(get.replace('/', '/slow'))
  await asked
  return { idle, busy }
}

describe('the time limits and closes of node:http on a reactor', () => {
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(() => expectNothingLeft(before))

  it('headersTimeout ends who does not finish the head (slowloris)', async () => {
    const { net: expected, reactor } = await onBoth(
      server({ headersTimeout: shortMs, requestTimeout: 60_000 }),
      async (side) => ({
        halfHead: await talk(side, 'GET / HTTP/1.1\r\nHost: x\r\nX-'),
        reasons: side.reasons.length === 0 || side.reasons[0] !== 'first-byte-timeout',
      }),
    )
    expect(expected.halfHead.status).to.equal('HTTP/1.1 408 Request Timeout')
    expect(reactor).to.deep.equal(expected)
  })

  it('requestTimeout ends who does not finish the body', async () => {
    const options = { headersTimeout: shortMs, requestTimeout: shortMs }
    const { net: expected, reactor } = await onBoth(
      server(options, (request, response) => void request.resume().on('end', () => response.end('all'))),
      (side) => talk(side, 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf'),
    )
    expect(expected.status).to.equal('HTTP/1.1 408 Request Timeout')
    expect(reactor).to.deep.equal(expected)
  })

  it('keepAliveTimeout ends who asks no more', async () => {
    const { net: expected, reactor } = await onBoth(server({ keepAliveTimeout: shortMs }), async (side) => {
      const client = await connectTo(side)
      client.write(get)
      const from = performance.now()
      const answer = await readAll(client)
      return { answer: answer.replace(/Date: .*\r\n/, ''), inTime: performance.now() - from >= shortMs - 20 }
    })
    expect(expected.inTime).to.equal(true)
    expect(reactor).to.deep.equal(expected)
  })

  it('timeout ends who is silent, and response.setTimeout asks the handler', async () => {
    const { net: expected, reactor } = await onBoth(
      () => {
        const made = server({}, (request, response) => {
          if (request.url === '/wait') response.setTimeout(shortMs, () => void response.end('you waited'))
        })()
        made.timeout = shortMs
        return made
      },
      async (side) => ({
        silent: await talk(side),
        unanswered: await talk(side, get),
        asked: await talk(side, get.replace('/', '/wait').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')),
      }),
    )
    expect(expected.asked.status).to.equal('HTTP/1.1 200 OK')
    expect(reactor).to.deep.equal(expected)
  })

  it('closeIdleConnections ends the idle ones only, and closeAllConnections all', async () => {
    const { net: expected, reactor } = await onBoth(
      () => {
        const made = server({}, (request, response) => {
          if (request.url === '/slow') made.once('go', () => response.end('late'))
          else response.end('hello')
        })()
        return made
      },
      async (side, made) => {
        const { idle, busy } = await idleAndBusy(side, made)
        const connections = () => new Promise((resolve) => (made as net.Server).getConnections((_error, count) => resolve(count)))
        const before = await connections()
        const idleEnds = once(idle, 'close')
        ;(made as http.Server).closeIdleConnections()
        await idleEnds
        const between = await connections()
        made.emit('go')
        const [answer] = (await once(busy, 'data')) as [Buffer]
        const busyEnds = once(busy, 'close')
        ;(made as http.Server).closeAllConnections()
        await busyEnds
        return { before, between, late: answer.toString().includes('late') }
      },
    )
    expect(reactor).to.deep.equal(expected).and.deep.equal({ before: 2, between: 1, late: true })
  })

  it('close() waits for the request that is being answered, refuses later ones, and tells when all have gone', async () => {
    const { net: expected, reactor } = await onBoth(
      () => {
        const made = server({}, (request, response) => {
          if (request.url === '/') return response.end('hello')
          response.setHeader('Connection', 'close')
          made.once('go', () => response.end('late'))
        })()
        return made
      },
      async (side, made) => {
        const listening = made.listening
        const { idle, busy } = await idleAndBusy(side, made)
        let closed = false
        const done = new Promise<Error | undefined>((resolve) => {
          made.close((error) => {
            closed = true
            resolve(error)
          })
        })
        await once(idle.resume(), 'close')
        const early = closed
        made.emit('go')
        const answer = await readAll(busy)
        return { listening, after: made.listening, early, error: await done, late: answer.endsWith('late') }
      },
    )
    expect(reactor).to.deep.equal(expected).and.include({ early: false, error: undefined, late: true })
  })

  it('says where it listens, and will not listen twice', async () => {
    const { net: expected, reactor } = await onBoth(server({}), async (side, made) => {
      const address = made.address() as net.AddressInfo
      let code: unknown
      try {
        ;(made as http.Server).listen(0)
      } catch (error) {
        code = (error as NodeJS.ErrnoException).code
      }
      return { ...address, port: address.port === side.port, code }
    })
    expect(reactor).to.deep.equal(expected).and.include({ code: 'ERR_SERVER_ALREADY_LISTEN' })
  })

  it('maxConnections drops who is too many', async () => {
    const { net: expected, reactor } = await onBoth(
      () => {
        const made = server({})()
        made.maxConnections = 1
        return made
      },
      async (side, made) => {
        const first = await connectTo(side)
        first.write(get)
        await once(first, 'data')
        const dropped = once(made, 'drop') as Promise<[{ remoteAddress: string; localPort: number }]>
        const second = await connectTo(side)
        const answer = await readAll(second)
        const [{ remoteAddress, localPort }] = await dropped
        first.destroy()
        return { answer, remoteAddress, ours: localPort === side.port }
      },
    )
    expect(reactor).to.deep.equal(expected)
  })

  it('answers nonsense with 400, Expect with 100, and pipelined requests in order', async () => {
    const { net: expected, reactor } = await onBoth(
      server({}, (request, response) => {
        let body = ''
        request.on('data', (part) => {
          body += part
        })
        request.on('end', () => response.end(`${request.url}:${body}`))
      }),
      async (side) => {
        const nonsense = await talk(side, 'nonsense\r\n\r\n')
        const expecting = await connectTo(side)
        expecting.write('POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n')
        const [first] = (await once(expecting, 'data')) as [Buffer]
        expecting.write('ok')
        const rest = (await readAll(expecting)).split('\r\n\r\n')[1]
        const many = await connectTo(side)
        many.write(
          Array.from({ length: 50 }, (_, i) => get.replace('/', `/${i}`))
            .join('')
            .concat(get.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')),
        )
        const bodies = [...(await readAll(many)).matchAll(/\r\n\r\n(\/\d*:)/g)].map((match) => match[1])
        return { nonsense, first: first.toString(), rest, bodies }
      },
    )
    expect(expected.bodies).to.have.length(51)
    expect(reactor).to.deep.equal(expected)
  })
})
