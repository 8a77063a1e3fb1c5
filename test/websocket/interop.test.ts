import { once } from 'node:events'
import { expect } from 'chai'
import { WebSocket as UndiciWebSocket } from 'undici'
import { WebSocket } from 'ws'
import { HttpServer } from '../support/http.js'

/** The interface of browsers, as far as it is used here. */
type StandardSocket = Pick<UndiciWebSocket, 'send' | 'close' | 'addEventListener' | 'binaryType' | 'protocol' | 'readyState'>
type StandardConstructor = new (url: string, protocols: string[]) => StandardSocket

describe('WebSocket clients that we did not write', () => {
  let server: HttpServer
  before(async () => {
    server = await HttpServer.start({
      websocket: {
        protocols: ['echo'],
        maxMessageBytes: 8 << 20,
        message: (ws, data) => void (data === 'close me' ? ws.close(4001, 'as you wish') : ws.send(data)),
      },
    })
  })
  after(async () => {
    await server.close()
    expect(server.errors).to.deep.equal([])
  })

  it('ws: messages of every kind and size come back, and Pings are answered', async () => {
    const client = new WebSocket(`ws://127.0.0.1:${server.port}/`, ['echo'])
    const got: (string | number)[] = []
    client.on('message', (data: Buffer, isBinary) => got.push(isBinary ? data.length : data.toString()))
    await once(client, 'open')
    const sizes = [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 5 << 20]
    for (const size of sizes) client.send(Buffer.alloc(size, 0xff))
    client.send('κόσμε')
    client.send('in ', { fin: false })
    client.ping('now')
    client.send('parts', { fin: true })
    const [pong] = (await once(client, 'pong')) as [Buffer]
    expect(pong.toString()).to.equal('now')
    while (got.length < sizes.length + 2) await once(client, 'message')
    expect(got).to.deep.equal([...sizes, 'κόσμε', 'in parts'])
    client.close(1000, 'bye')
    expect((await once(client, 'close'))[0]).to.equal(1000)
  })

  it('ws: a client that offers compression works without it', async () => {
    const client = new WebSocket(`ws://127.0.0.1:${server.port}/`, { perMessageDeflate: true })
    await once(client, 'open')
    expect(client.extensions).to.equal('')
    client.send('x'.repeat(10_000))
    expect(((await once(client, 'message')) as [Buffer])[0].length).to.equal(10_000)
    client.close()
    await once(client, 'close')
  })

  const standard: [name: string, constructor: StandardConstructor][] = [['undici', UndiciWebSocket]]
  // Node has one of its own from 22 on.
  const nodes = (globalThis as { WebSocket?: StandardConstructor }).WebSocket
  if (nodes) standard.push(['Node', nodes])
  for (const [name, Standard] of standard) {
    it(`${name}: the client of browsers echoes, and hears our Close frame`, async () => echoes(server.port))

    it(`${name}: the client of browsers does so with compression`, async () => {
      const compressing = await HttpServer.start({
        websocket: {
          deflate: { thresholdBytes: 0 },
          protocols: ['echo'],
          message: (ws, data) => void (data === 'close me' ? ws.close(4001, 'as you wish') : ws.send(data)),
        },
      })
      try {
        await echoes(compressing.port)
      } finally {
        await compressing.close()
      }
      expect(compressing.errors).to.deep.equal([])
    })

    async function echoes(port: number): Promise<void> {
      const client = new Standard(`ws://127.0.0.1:${port}/`, ['other', 'echo'])
      client.binaryType = 'arraybuffer'
      const got: unknown[] = []
      const closed = new Promise<{ code: number; reason: string }>((resolve, reject) => {
        client.addEventListener('open', () => {
          client.send('grüße')
          client.send(new Uint8Array([1, 2, 3]))
          client.send('close me')
        })
        client.addEventListener('message', ({ data }: { data: unknown }) =>
          got.push(data instanceof ArrayBuffer ? new Uint8Array(data).join() : data),
        )
        client.addEventListener('close', resolve)
        client.addEventListener('error', () => reject(new Error('the client failed')))
      })
      const { code, reason } = await closed
      expect([client.protocol, ...got, code, reason]).to.deep.equal(['echo', 'grüße', '1,2,3', 4001, 'as you wish'])
    }
  }
})
