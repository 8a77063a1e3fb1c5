import { serve } from '@multireactor/core'
import { httpApp, type ServerWebSocket } from '@multireactor/http'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { lateResults as late } from '../fixtures/late-calls.js'
import { frame, handshake } from '../support/websocket.js'
import { census, expectNothingLeft } from '../support/leaks.js'

/** Looks again and again, for at most 10 s. */
async function waitFor(done: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 10))
  expect(done()).to.equal(true)
}

const listen = { port: 0, host: '127.0.0.1' }

const wrong = {
  'wrong write': 'throws ERR_MR_DATA',
  'wrong end with data': 'throws ERR_MR_DATA',
  'wrong destroy': 'throws ERR_MR_OPTION_RANGE',
  'wrong setTimeout': 'throws ERR_MR_OPTION_TYPE',
  'wrong setNoDelay': 'throws ERR_MR_OPTION_TYPE',
  'wrong setKeepAlive': 'throws ERR_MR_OPTION_TYPE',
  'wrong setFraming': 'throws ERR_MR_OPTION_TYPE',
  'wrong toDuplex': 'throws ERR_MR_OPTION_TYPE',
  'wrong submit': 'throws ERR_MR_DATA',
  'wrong run': 'throws ERR_MR_DATA',
  'wrong defer': 'throws ERR_MR_DATA',
  'wrong moveTo': 'throws ERR_MR_OPTION_RANGE',
  'wrong subscribe': 'throws ERR_MR_TOPIC',
  'wrong unsubscribe': 'throws ERR_MR_TOPIC',
  'wrong publish': 'throws ERR_MR_DATA',
  'wrong pipe': 'throws ERR_MR_OPTION_TYPE',
}
/** Every one of `late` is counted, and so is `defer` of the wrong calls, twice for a call that defers and writes. */
const countedEach = Object.keys(late).length + 3

describe('calls on a connection that has closed', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('return false or do nothing, whoever closed it, and are counted', async () => {
    await using server = await serve({ app: app('late-calls'), listen, reactors: 1, pool: 1 })
    server.on('error', () => {})
    const { port } = server.listeners[0]!
    const other = await Client.connect(port)
    other.write('other\n')
    await other.lines(1)
    const ways = ['hung up', 'timeout', 'server-closing', 'thrown', 'destroyed', 'ended']
    for (const how of ways) {
      const client = await Client.connect(port)
      client.write(`${how}\n`)
      if (how === 'hung up') {
        await client.lines(1)
        client.socket.resetAndDestroy()
      }
      await client.untilClosed()
    }
    const isTold = (told: Record<string, unknown>): boolean => ways.every((how) => `${how}, later` in told)
    let told: Record<string, Record<string, unknown>> = {}
    for (let i = 0; i < 200 && !isTold(told); i++) told = JSON.parse((await server.call(0, '')).toString()) as typeof told
    const { 'ended, not closed yet': ended, ...closed } = told
    expect(Object.keys(closed)).to.have.length(2 * ways.length + 1)
    for (const [when, results] of Object.entries(closed)) {
      expect(results, when).to.deep.equal({ ...late, ...wrong, counted: countedEach })
    }
    expect(server.stats().reactorsReplaced).to.equal(0)
    const gone = 'throws ERR_MR_CONNECTION_CLOSED'
    expect(ended).to.include({ write: gone, reply: gone, end: 'nothing', 'end with data': gone, submit: gone, setFraming: gone })
    expect(ended).to.include({ toDuplex: gone, 'defer, write': gone, moveTo: gone, subscribe: gone, publish: gone, pipe: gone })
    expect(ended).to.include({ run: 'rejects ERR_MR_CONNECTION_CLOSED', 'pipe to it': gone, ...wrong })
    other.destroy()
  })

  it('of HTTP and WebSocket are of no effect either', async () => {
    const said: Record<string, unknown> = {}
    const attempt = (name: string, call: () => unknown): void => {
      try {
        said[name] = call() ?? 'nothing'
      } catch (error) {
        said[name] = `throws ${(error as { code?: string }).code}`
      }
    }
    const sockets: ServerWebSocket[] = []
    await using reactor = new Reactor()
    const { port } = await reactor.listen(
      listen,
      httpApp({
        request(req, res) {
          const { path, signal } = req
          if (path === '/begun') res.write('begun')
          signal.addEventListener('abort', () =>
            setImmediate(() => {
              attempt(`${path} setHeader`, () => typeof res.setHeader('A', 'b'))
              attempt(`${path} write`, () => res.write('x'))
              attempt(`${path} wrong write`, () => res.write(5 as never))
              attempt(`${path} end`, () => res.end('x'))
              attempt(`${path} end again`, () => res.end())
              attempt(`${path} wrong end`, () => res.end(5 as never))
            }),
          )
        },
        websocket: {
          open: (ws) => void sockets.push(ws),
          message(ws) {
            ws.terminate()
            attempt('send after terminate', () => ws.send('x'))
          },
          close(ws) {
            for (const call of ['send', 'ping', 'subscribe'] as const) attempt(call, () => ws[call]('x'))
            attempt('publish', () => ws.publish('t', 'x'))
            attempt('close', () => ws.close())
            attempt('terminate', () => ws.terminate())
            attempt('pause', () => ws.pause())
            attempt('wrong send', () => ws.send(5 as never))
          },
        },
      }),
    )
    for (const path of ['/begun', '/open']) {
      const client = await Client.connect(port)
      client.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
      if (path === '/begun') await client.bytes(1)
      else await waitFor(() => reactor.stats().framesRead === 2)
      client.socket.resetAndDestroy()
      await waitFor(() => said[`${path} wrong end`] !== undefined)
      expect(said).to.include({ [`${path} setHeader`]: 'object', [`${path} write`]: false, [`${path} end`]: 'nothing' })
      expect(said).to.include({ [`${path} end again`]: 'nothing' })
      expect(said).to.include({ [`${path} wrong write`]: 'throws ERR_MR_DATA', [`${path} wrong end`]: 'throws ERR_MR_DATA' })
    }
    const client = await Client.connect(port)
    client.write(handshake())
    await client.until(({ received }) => received.includes('\r\n\r\n'))
    client.write(frame(1, 'x'))
    await client.untilClosed()
    await waitFor(() => said['wrong send'] !== undefined)
    expect(said).to.include({ 'send after terminate': false, send: false, ping: false, subscribe: false, publish: false })
    expect(said).to.include({ close: 'nothing', terminate: 'nothing', pause: 'nothing', 'wrong send': 'throws ERR_MR_DATA' })
    // Three of each response; all those of the WebSocket but pause.
    expect(reactor.stats().callsAfterClose).to.equal(6 + 7)
  })

  it('end no thread, though 40 peers hang up before a timer writes', async () => {
    await using server = await serve({ app: app('late-calls'), listen, reactors: 2, pool: 0 })
    const { port } = server.listeners[0]!
    for (let i = 0; i < 40; i++) {
      const client = await Client.connect(port)
      client.write('timers\n')
      client.socket.end()
      await client.untilClosed()
    }
    const counted = (): number => server.stats().reactors.reduce((sum, { callsAfterClose }) => sum + callsAfterClose, 0)
    await waitFor(() => counted() === 120)
    expect(server.stats().reactorsReplaced).to.equal(0)
  })
})
