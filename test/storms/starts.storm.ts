import { serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const rounds = 50

describe(`${rounds} servers of 2+2 threads, one after the other`, () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('leave nothing', async () => {
    for (let i = 0; i < rounds; i++) {
      const server = await serve({ app: app('orders'), listen: 0, reactors: 2, pool: 2 })
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('{"id":1,"price":2,"count":3}\n')
      expect(await client.lines(1)).to.deep.equal(['{"id":1,"total":6}'])
      client.destroy()
      await server.close()
    }
  })
})
