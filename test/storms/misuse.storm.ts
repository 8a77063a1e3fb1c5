import { once } from 'node:events'
import net from 'node:net'
import {
  type Connection,
  custom,
  delimiter,
  errorCodes,
  fixed,
  lengthPrefixed,
  lines,
  MultireactorError,
  Reactor,
  raw,
} from '@multireactor/reactor'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'
import { Random, stormSeed } from '../support/random.js'

const reactors = 500
const connectionsEach = 20
const hooks = ['message', 'drain', 'end', 'timeout', 'close'] as const
const framings = [
  raw(),
  lines({ maxBytes: 2_000 }),
  delimiter('ab'),
  fixed(3),
  lengthPrefixed({ type: 'u8' }),
  custom((bytes) => ({ consumed: Math.min(3, bytes.length), frame: bytes.subarray(0, Math.min(3, bytes.length)) })),
]

/** The history of a connection's own sequence of calls. */
interface Story {
  random: Random
  opened: number
  closed: number
  /** Calls that are still to be made: a sequence is finite, though a hook may lead to itself. */
  left: number
}
type Conn = Connection<Story>

describe('random misuse of a reactor', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('10,000 sequences throw typed errors only, crash nothing, and hear nothing after close', async () => {
    const seed = stormSeed()
    const wrong: string[] = []
    const codes: Record<string, number> = {}
    const calls: Record<string, number> = {}
    let stories = 0
    let closed = 0

    const attempt = (name: string, call: () => unknown) => {
      calls[name] = (calls[name] ?? 0) + 1
      const failed = (error: unknown) => {
        if (error instanceof MultireactorError && error.code in errorCodes) codes[error.code] = (codes[error.code] ?? 0) + 1
        else wrong.push(`${name}: ${(error as Error)?.stack ?? error}`)
      }
      try {
        const result = call()
        if (result instanceof Promise) result.catch(failed)
      } catch (error) {
        failed(error)
      }
    }

    const callSome = (reactor: Reactor, conn: Conn, story: Story) => {
      const { random } = story
      for (let n = random.below(4); n > 0 && story.left > 0; n--) {
        story.left--
        const later = random.below(6)
        const [name, call] = random.pick(operations)
        const go = () => attempt(name, () => call(conn, random, reactor))
        if (later === 0) setImmediate(go)
        else if (later === 1) queueMicrotask(go)
        else go()
      }
    }

    for (let r = 0; r < reactors; r++) {
      const reactor = new Reactor({ onError: (error, context) => void wrong.push(`${context.hook}: ${String(error)}`) })
      const all: Story[] = []
      const random = new Random(seed + r)
      const hook = (name: string) => (conn: Conn) => {
        const story = conn.data
        if (story.closed > 0) wrong.push(`${name} after close, reactor ${r}`)
        if (name === 'close') story.closed++
        callSome(reactor, conn, story)
      }
      // Not all hooks are always there: the native side replaces the missing ones.
      const some = Object.fromEntries(
        hooks.filter((name) => name === 'message' || name === 'close' || random.below(2)).map((name) => [name, hook(name)]),
      )
      const { port } = await reactor.listen(
        { port: 0, host: '127.0.0.1' },
        {
          framing: random.pick(framings),
          allowHalfOpen: random.below(2) === 0,
          outBuffer: { high: 1 << 10, low: 100, max: 256 << 10 },
          maxInFlight: 4,
          open(conn) {
            const story: Story = { random: new Random(seed + r * 1_000 + all.length), opened: 1, closed: 0, left: 30 }
            all.push(story)
            conn.data = story as never
            callSome(reactor, conn as unknown as Conn, story)
            return story
          },
          ...some,
        },
      )
      await Promise.all(Array.from({ length: connectionsEach }, (_, c) => visit(port, new Random(seed + r * 1_000 + c))))
      await reactor.close({ timeoutMs: 20 }).catch((error: unknown) => {
        // A hook was faster; the disposal below waits for that.
        if (!(error instanceof MultireactorError && error.code === 'ERR_MR_CLOSED')) throw error
      })
      await reactor[Symbol.asyncDispose]()
      stories += connectionsEach
      closed += all.reduce((sum, story) => sum + story.closed, 0)
      if (all.some((story) => story.closed !== 1)) {
        wrong.push(`reactor ${r}: close hooks ${all.map((story) => story.closed)}`)
      }
      expect(wrong, `seed ${seed}, reactor ${r}`).to.deep.equal([])
    }
    // Callbacks that the last connections have put off.
    await new Promise(setImmediate)
    expect(wrong).to.deep.equal([])
    console.log(`    ${closed} of ${stories} accepted and closed; ${JSON.stringify(codes)}`)
    expect(stories).to.equal(10_000)
    expect(closed).to.be.above(5_000)
    // Each kind was tried, and those mistakes were made.
    expect(Object.keys(calls)).to.have.length(operations.length)
    expect(codes).to.include.keys('ERR_MR_CONNECTION_CLOSED', 'ERR_MR_DATA', 'ERR_MR_OPTION_RANGE', 'ERR_MR_CLOSED')
  })
})

const operations: [name: string, call: (conn: Conn, random: Random, reactor: Reactor) => unknown][] = [
  ['write', (conn, random) => conn.write(random.bytes(random.below(3_000)))],
  ['write string', (conn) => conn.write('hello\n')],
  ['write large', (conn, random) => random.below(10) === 0 && conn.write(Buffer.alloc(200 << 10))],
  ['write nothing', (conn) => conn.write('')],
  ['write a number', (conn) => conn.write(42 as never)],
  ['pause', (conn) => conn.pause()],
  ['resume', (conn) => conn.resume()],
  ['resume again', (conn) => conn.resume()],
  ['end', (conn) => conn.end()],
  ['end with data', (conn) => conn.end('bye')],
  ['destroy', (conn) => conn.destroy()],
  ['destroy for no reason', (conn) => conn.destroy('nothing' as never)],
  ['setTimeout', (conn, random) => conn.setTimeout(random.below(20))],
  ['setTimeout backwards', (conn) => conn.setTimeout(-1)],
  ['setFraming', (conn, random) => conn.setFraming(random.pick(framings))],
  ['setFraming to nothing', (conn) => conn.setFraming({} as never)],
  ['setNoDelay', (conn, random) => conn.setNoDelay(random.below(2) === 0)],
  ['setKeepAlive', (conn, random) => conn.setKeepAlive(random.below(2) === 0, random.below(100_000))],
  ['submit without a pool', (conn) => conn.submit('x')],
  ['call without a pool', (conn) => conn.run('x')],
  [
    'defer',
    (conn, random): unknown => {
      const reply = conn.defer()
      reply.write('part')
      if (random.below(2)) reply.end()
      if (random.below(4) === 0) reply.end('again')
      return random.below(2) ? new Promise(setImmediate).then(() => reply.end('late')) : undefined
    },
  ],
  [
    'look',
    (conn) => [conn.id, conn.remoteAddress, conn.localPort, conn.bytesRead, conn.writableLength, conn.inFlight, conn.destroyed],
  ],
  ['stop', (_, random, reactor) => random.below(20) === 0 && reactor.close({ timeoutMs: random.below(20) })],
  ['stats', (_, __, reactor) => reactor.stats()],
  ['listen badly', (_, __, reactor) => reactor.listen({ port: -1 }, {} as never)],
]

/** A peer that sends something, reads or not, and leaves in one of the ways there are. */
async function visit(port: number, random: Random): Promise<void> {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.once('close', resolve))
  if (random.below(3)) socket.resume()
  for (let n = random.below(4); n > 0; n--) socket.write(random.bytes(1 + random.below(3_000)))
  const way = random.below(4)
  if (way === 0) socket.end()
  if (way === 1) socket.once('connect', () => socket.resetAndDestroy())
  if (way === 2) socket.once('connect', () => setImmediate(() => socket.destroy()))
  // 3: waits for the reactor; reading, or the end would not be seen.
  if (way === 3) socket.resume()
  await Promise.race([closed, once(socket, 'connect').catch(() => {})])
  if (way === 0 || way === 3) setImmediate(() => setImmediate(() => socket.destroy()))
  await closed
}
