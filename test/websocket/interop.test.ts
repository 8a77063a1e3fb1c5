import { once } from 'node:events'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { HttpServer } from '../support/http.js'

describe('a WebSocket', () => {
  let server: HttpServer
  before(async () => {
    server = await HttpServer.start({
      websocket: { message: (ws, data) => ws.send(data) },
    })
  })
  after(() => server.close())

  it('echoes to ws', async () => {
    const client = new WebSocket(`ws://127.0.0.1:${server.port}/`)
    await once(client, 'open')
    client.send('héllo')
    const [data, isBinary] = (await once(client, 'message')) as [Buffer, boolean]
    expect([data.toString(), isBinary]).to.deep.equal(['héllo', false])
    client.close(1000, 'bye')
    const [code] = (await once(client, 'close')) as [number]
    expect(code).to.equal(1000)
  })
})
