import { type Server, serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

describe("run: 'auto'", () => {
  let server: Server
  let before: ReturnType<typeof census>
  beforeEach(async () => {
    before = census()
    server = await serve({ app: app('placement_auto'), listen: 0, reactors: 1, pool: 2 })
  })
  afterEach(async () => {
    await server.close({ timeoutMs: 500 })
    expectNothingLeft(before)
  })
  const connect = (): Promise<Client> => Client.connect(server.listeners[0]!.port)
  const ask = async (client: Client, text: string): Promise<string> => {
    client.received = Buffer.alloc(0)
    client.write(`${text}\n`)
    return (await client.lines(1))[0]!
  }
  /** Asks until it is settled that this class stays on the reactor. */
  const untilInline = async (client: Client): Promise<void> => {
    for (let inRow = 0; inRow < 40; ) inRow = (await ask(client, 'where')).startsWith('reactor') ? inRow + 1 : 0
  }

  it('runs the first frame of a size in the pool, and those that have proved to be cheap on the reactor', async () => {
    const client = await connect()
    expect(await ask(client, 'where')).to.match(/^worker/)
    await untilInline(client)
    const { framesInline, framesSubmitted } = server.stats().reactors[0]!
    expect(framesInline).to.be.at.least(1)
    expect(framesSubmitted).to.be.at.least(1)
    // Of another size nothing is known.
    const before = server.stats().reactors[0]!.framesSubmitted
    await ask(client, 'l'.repeat(5_000))
    expect(server.stats().reactors[0]!.framesSubmitted).to.equal(before + 1)
    client.destroy()
  })

  it('sends a class that overran to the pool, and counts one overrun', async () => {
    const client = await connect()
    await untilInline(client)
    expect(await ask(client, 'work 30')).to.equal('worked 30') // of the size of `where`
    while (server.stats().reactors[0]!.inlineOverruns === 0) await new Promise(setImmediate)
    const inline = server.stats().reactors[0]!.framesInline
    for (let i = 0; i < 300; i++) expect(await ask(client, 'where')).to.match(/^worker/)
    expect(await ask(client, 'work 30')).to.equal('worked 30')
    const stats = server.stats().reactors[0]!
    expect([stats.framesInline, stats.inlineOverruns]).to.deep.equal([inline, 1])
    client.destroy()
  })

  it('keeps what is dear in the pool, and its own small frames beside it on the reactor', async () => {
    const client = await connect()
    const heavy = await connect()
    await untilInline(client)
    heavy.write('work 30                         .\n'.repeat(6))
    const wheres: string[] = []
    for (let i = 0; i < 20; i++) wheres.push((await ask(client, 'where')).split(' ')[0]!)
    await heavy.lines(6)
    // One that lost its core on a crowded machine may look dear for a moment.
    expect(wheres.filter((one) => one === 'reactor').length).to.be.above(10)
    expect(server.stats().reactors[0]!.inlineOverruns).to.equal(0)
    client.destroy()
    heavy.destroy()
  })

  it('keeps what returns promises in the pool: what follows an await cannot be measured', async () => {
    const client = await connect()
    for (let i = 0; i < 50; i++) expect(await ask(client, 'sleep 0')).to.equal('slept 0')
    expect(server.stats().reactors[0]!.framesInline).to.equal(0)
    client.destroy()
  })

  it('keeps the order over both ways', async () => {
    const client = await connect()
    await untilInline(client)
    client.received = Buffer.alloc(0)
    const inline = server.stats().reactors[0]!.framesInline
    const large = 'l'.repeat(40_000)
    client.write(`${`${large}\nwhere\n`.repeat(30)}`)
    const replies = await client.lines(60)
    expect(replies.every((reply, i) => (i % 2 === 0 ? reply === large : /^(reactor|worker)/.test(reply)))).to.equal(true)
    expect(server.stats().reactors[0]!.framesInline).to.be.above(inline)
    client.destroy()
  })
})
