import { type Server, serve } from '@multireactor/core'
import { expect } from 'chai'
import { lostViews } from '../fixtures/lost_views.js'
import { oddErrors } from '../fixtures/odd_errors.js'
import { closedAs } from '../support/closed.js'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

for (const [run, pool] of [
  ['pool', 1],
  ['inline', 0],
  ['auto', 1],
  ['custom', 1],
] as const) {
  describe(`parse with run: ${run === 'custom' ? "'auto' behind a custom framer" : `'${run}'`}`, () => {
    let server: Server
    let before: ReturnType<typeof census>
    const errors: string[] = []
    beforeEach(async () => {
      before = census()
      errors.length = 0
      server = await serve({ app: app(`placement_${run}`), listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool })
      server.on('error', (error, { hook }) => errors.push(`${hook}: ${error.message}`))
      if (run === 'pool' || run === 'inline') return
      // Once the cost of an echo is known, it stays on the reactor; the commands of these tests are of the same sizes.
      const client = await Client.connect(server.listeners[0]!.port)
      const echoes = ['eight.by', 'sixteen bytes are', 'and then some more than thirty-two of them']
      while (server.stats().reactors[0]!.framesInline < 10) {
        const from = client.received.length
        const text = echoes.map((one) => `${one}\n`).join('')
        client.write(text.repeat(20))
        await client.bytes(from + text.length * 20)
      }
      client.socket.end()
      await client.untilClosed()
    })
    afterEach(async () => {
      expect(server.stats().reactorsReplaced).to.equal(0)
      await server.close({ timeoutMs: 500 })
      expectNothingLeft(before)
    })
    const connect = (): Promise<Client> => Client.connect(server.listeners[0]!.port)

    it('keeps the order of replies of every kind', async () => {
      const client = await connect()
      client.write('sleep 20\nlist\nbytes\nnothing\niterate 3\nsleep 1\nx\nthrow me\nreject you\nnumber\nstream 1\nlast\n')
      const replies = await client.lines(11)
      expect(replies.slice(0, 8)).to.deep.equal(['slept 20', 'list', 'bytes', '0,1,2,', 'slept 1', 'x', 'error me', 'error you'])
      expect(replies[8]).to.match(/^error a reply must be/)
      expect(replies.slice(9)).to.deep.equal(['s'.repeat(1024), 'last'])
      client.destroy()
      expect(errors).to.deep.equal([])
    })

    it('asks the error hook about a reply whose memory is gone, and closes when that answers with another', async () => {
      const client = await connect()
      const frames = ['lost', 'lose', 'list-lost', 'part-lost'].flatMap((how) =>
        Object.keys(lostViews).map((view) => `${how} ${view}\n`),
      )
      client.write(`none\n${frames.join('')}last\n`)
      const replies = await client.lines(frames.length + 1)
      for (const reply of replies.slice(0, -1)) {
        expect(reply).to.match(/^error a reply must be .* and is a Uint8Array without memory \(it was transferred or resized/)
      }
      expect(replies.at(-1)).to.equal('last')
      expect(errors).to.deep.equal([])
      client.write('throw lost\n')
      await client.untilClosed()
      // The peer sees its end first, behind the replies before it.
      expect(await closedAs(server, 'parse-error', 1)).to.equal(1)
      expect(errors.map((error) => error.slice(0, 29))).to.deep.equal(['parse: a reply must be a stri'])
    })

    it('closes a connection alone whose parse threw what cannot be described, and reports it', async () => {
      const bystander = await connect()
      bystander.write('sleep 300\n')
      const kinds = Object.keys(oddErrors)
      const lines = kinds.flatMap((kind) => [`unhandled-odd ${kind}`, `unhandled-odd-later ${kind}`])
      lines.push('unhandled-odd-reply revoked', 'unhandled-has')
      for (const line of lines) {
        const client = await connect()
        client.write(`${line}\n`)
        await client.untilClosed()
      }
      expect(await bystander.lines(1)).to.deep.equal(['slept 300'])
      expect(server.stats().workersReplaced).to.equal(0)
      expect(await closedAs(server, 'parse-error', lines.length)).to.equal(lines.length)
      const said = errors.map((error) => error.replace(/^parse: /, ''))
      expect(said).to.have.length(lines.length)
      expect(said).to.include.members([
        'Symbol(odd)',
        'a',
        'a value that is no Error was thrown: one that cannot be described',
        'not to be asked',
      ])
      bystander.destroy()
    })

    it('answers a thousand pipelined frames of all sizes in order, to a peer that half-closes at once', async () => {
      const frames = Array.from({ length: 1_000 }, (_, i) => `${i}.${'y'.repeat((i * 37) % 3_000)}`)
      const client = await connect()
      client.socket.end(`${frames.join('\n')}\n`)
      await client.untilClosed()
      expect(client.error).to.equal(undefined)
      expect(client.received.toString() === `${frames.join('\n')}\n`).to.equal(true)
      const { framesInline, framesSubmitted } = server.stats().reactors[0]!
      if (run === 'inline') expect(framesSubmitted).to.equal(0)
      if (run === 'pool') expect(framesInline).to.equal(0)
      expect(framesInline + framesSubmitted).to.be.at.least(1_000)
    })

    it('sends frames and replies that are larger than any buffer', async () => {
      const client = await connect()
      const large = 'z'.repeat(700_000)
      client.write(`${large}\nsmall\n${large}\n`)
      const [first, second, third] = await client.lines(3)
      expect([first === large, second, third === large]).to.deep.equal([true, 'small', true])
      client.destroy()
    })

    it('streams to a peer that does not read, and goes on when it does', async () => {
      const client = await connect()
      client.socket.pause()
      client.write('stream 2000\nafter\n')
      const other = await connect()
      other.write('sleep 50\n')
      await other.lines(1)
      client.socket.resume()
      const [streamed, after] = await client.lines(2)
      expect([streamed!.length, after]).to.deep.equal([2_000 * 1_024, 'after'])
      client.destroy()
      other.destroy()
    })

    it('closes by ctx.end() after the reply, by ctx.destroy() and an unhandled error at once', async () => {
      const ends = await connect()
      ends.write('sleep 5\nend\nignored\n')
      await ends.untilClosed()
      expect(ends.received.toString()).to.equal('slept 5\nended\n')
      const destroys = await connect()
      destroys.write('destroy\n')
      await destroys.untilClosed()
      expect(destroys.received.length).to.equal(0)
      const fails = await connect()
      fails.write('one\nunhandled oops\n')
      await fails.untilClosed()
      expect(fails.received.toString()).to.equal('one\n')
      expect(await closedAs(server, 'parse-error', 1)).to.equal(1)
      expect(server.stats().connections.closed['destroyed']).to.equal(1)
      expect(errors).to.deep.equal(['parse: oops'])
    })

    it('tells the context where the frame came from, and its signal that the peer has gone', async () => {
      const client = await connect()
      client.write('x\ncontext\n')
      expect(await client.lines(2)).to.deep.equal(['x', `${server.listeners[0]!.name} 127.0.0.1 1 bigint`])
      const late = server.stats().reactors[0]!.repliesLate + server.stats().repliesUnrouted
      const started = (): number =>
        server.stats().reactors[0]!.framesInline +
        server.stats().workers.reduce((sum, { framesStarted }) => sum + framesStarted, 0)
      const before = started()
      client.write('gone\n')
      await until(() => started() > before)
      client.socket.resetAndDestroy()
      await until(() => server.stats().reactors[0]!.repliesLate + server.stats().repliesUnrouted > late)
    })
  })
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate)
}

it("run: 'inline' with order: 'none' answers as replies are ready", async () => {
  const server = await serve({ app: app('placement_none'), listen: 0, reactors: 1, pool: 0 })
  const client = await Client.connect(server.listeners[0]!.port)
  client.write('200\n1\n')
  expect(await client.lines(2)).to.deep.equal(['1', '200'])
  client.destroy()
  await server.close()
})
