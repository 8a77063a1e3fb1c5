import {
  type Connection,
  type ConnectionHandlers,
  type ConnectionOptions,
  custom,
  lines,
  Reactor,
  raw,
} from '@multireactor/reactor'
import { serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

/** `message` hooks that end when they are told to, one after the other. */
class Hooks {
  readonly begun: string[] = []
  readonly #open: ((error?: Error) => void)[] = []
  most = 0
  #wake: (() => void)[] = []

  /** The hook. */
  hold(frame: Buffer): Promise<void> {
    this.begun.push(frame.toString())
    const pending = new Promise<void>((resolve, reject) => this.#open.push((error) => (error ? reject(error) : resolve())))
    this.most = Math.max(this.most, this.#open.length)
    for (const wake of this.#wake.splice(0)) wake()
    return pending
  }

  /** The oldest ends. */
  end(error?: Error): void {
    this.#open.shift()!(error)
  }

  async until(begun: number): Promise<void> {
    while (this.begun.length < begun) await new Promise<void>((resolve) => this.#wake.push(resolve))
  }

  /** Ends each hook as soon as `count` in all have begun or are pending. */
  async endAll(count: number): Promise<void> {
    for (let ended = 0; ended < count; ended++) {
      await this.until(ended + 1)
      this.end()
    }
  }
}

const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `${i + from}`)

/** So many rounds of the event loop: all deliveries have happened. */
async function rounds(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

describe('pending message hooks', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  async function withReactor(
    handlers: ConnectionHandlers<undefined> & ConnectionOptions,
    work: (port: number, errors: unknown[], reactor: Reactor) => Promise<void>,
  ): Promise<void> {
    const errors: unknown[] = []
    await using reactor = new Reactor({ onError: (error) => void errors.push(error) })
    const { port } = await reactor.listen({ port: 0, host: '127.0.0.1' }, handlers)
    await work(port, errors, reactor)
  }

  const framings = {
    lines: lines(),
    custom: custom((bytes) => {
      const end = bytes.indexOf(10)
      return end < 0 ? undefined : { consumed: end + 1, frame: bytes.subarray(0, end) }
    }),
  }
  for (const [name, framing] of Object.entries(framings)) {
    it(`are at most 32 by default (${name})`, async () => {
      const hooks = new Hooks()
      await withReactor({ framing, message: (_, frame) => hooks.hold(frame) }, async (port) => {
        const client = await Client.connect(port)
        client.write(`${numbers(3_000).join('\n')}\n`)
        await hooks.until(32)
        await rounds()
        expect(hooks.begun).to.have.length(32)
        await hooks.endAll(3_000)
        expect(hooks.most).to.equal(32)
        expect(hooks.begun).to.deep.equal(numbers(3_000))
        client.destroy()
      })
    })

    it(`with maxPendingMessages: 1, each begins when the one before has settled, within one read (${name})`, async () => {
      const hooks = new Hooks()
      const order: string[] = []
      const message = async (_: unknown, frame: Buffer): Promise<void> => {
        order.push(`+${frame}`)
        await hooks.hold(frame)
        order.push(`-${frame}`)
      }
      await withReactor({ framing, maxPendingMessages: 1, message }, async (port) => {
        const client = await Client.connect(port)
        client.write(`${numbers(100).join('\n')}\n`)
        await hooks.endAll(100)
        await rounds()
        expect(order).to.deep.equal(numbers(100).flatMap((each) => [`+${each}`, `-${each}`]))
        client.destroy()
      })
    })

    it(`the end hook comes behind them (${name})`, async () => {
      const hooks = new Hooks()
      const ended: number[] = []
      await withReactor(
        {
          framing,
          maxPendingMessages: 1,
          allowHalfOpen: true,
          message: (_, frame) => hooks.hold(frame),
          end: (conn) => {
            ended.push(hooks.begun.length)
            conn.end()
          },
        },
        async (port) => {
          const client = await Client.connect(port)
          client.socket.end('a\nb\nc\n')
          await hooks.until(1)
          await rounds()
          expect(ended).to.deep.equal([])
          await hooks.endAll(3)
          await client.until((one) => one.ended)
          expect(ended).to.deep.equal([3])
        },
      )
    })
  }

  it('stop the reading: what comes behind them stays with the peer', async () => {
    const hooks = new Hooks()
    let conn!: Connection<undefined>
    await withReactor(
      {
        framing: raw(),
        maxPendingMessages: 2,
        open(one) {
          conn = one
        },
        message: (_, frame) => hooks.hold(frame),
      },
      async (port) => {
        const client = await Client.connect(port)
        client.write(Buffer.alloc(64 << 20))
        await hooks.until(2)
        const read = conn.bytesRead
        await rounds()
        expect(conn.bytesRead).to.equal(read)
        expect(hooks.most).to.equal(2)
        client.destroy()
        hooks.end()
        hooks.end()
      },
    )
  })

  it('do not wake a connection that the app has paused, nor does resume() one that is full', async () => {
    const hooks = new Hooks()
    let conn!: Connection<undefined>
    await withReactor(
      {
        framing: lines(),
        maxPendingMessages: 1,
        open(one) {
          conn = one
        },
        message: (_, frame) => hooks.hold(frame),
      },
      async (port) => {
        const client = await Client.connect(port)
        client.write('a\nb\nc\n')
        await hooks.until(1)
        conn.pause()
        conn.resume()
        await rounds()
        expect(hooks.begun).to.deep.equal(['a'])
        conn.pause()
        hooks.end()
        await rounds()
        expect(hooks.begun).to.deep.equal(['a'])
        conn.resume()
        await hooks.until(2)
        hooks.end()
        await hooks.until(3)
        hooks.end()
        client.destroy()
      },
    )
  })

  it('that reject close the connection, and nothing behind them is delivered', async () => {
    const hooks = new Hooks()
    await withReactor(
      { framing: lines(), maxPendingMessages: 1, message: (_, frame) => hooks.hold(frame) },
      async (port, errors) => {
        const client = await Client.connect(port)
        client.write('a\nb\n')
        await hooks.until(1)
        const error = new Error('no')
        hooks.end(error)
        await client.until((one) => one.closed)
        await rounds()
        expect(hooks.begun).to.deep.equal(['a'])
        expect(errors).to.deep.equal([error])
      },
    )
  })

  it('that settle after the close do nothing', async () => {
    const hooks = new Hooks()
    const closed: string[] = []
    await withReactor(
      {
        framing: lines(),
        maxPendingMessages: 1,
        message: (_, frame) => hooks.hold(frame),
        close: (_, reason) => void closed.push(reason),
      },
      async (port, errors) => {
        const client = await Client.connect(port)
        client.write('a\n')
        await hooks.until(1)
        client.socket.resetAndDestroy()
        while (closed.length === 0) await rounds(1)
        hooks.end()
        await rounds()
        expect(closed).to.deep.equal(['reset'])
        expect(hooks.begun).to.deep.equal(['a'])
        expect(errors).to.deep.equal([])
      },
    )
  })

  it('that settle behind a reset let what came before it be read', async () => {
    const hooks = new Hooks()
    const closed: string[] = []
    await withReactor(
      {
        framing: lines(),
        maxPendingMessages: 1,
        message: (_, frame) => hooks.hold(frame),
        close: (_, reason) => void closed.push(reason),
      },
      async (port, errors) => {
        const client = await Client.connect(port)
        client.write('a\nb\n')
        await hooks.until(1)
        client.socket.resetAndDestroy()
        await rounds()
        expect(closed).to.deep.equal([])
        hooks.end()
        await hooks.until(2)
        while (closed.length === 0) await rounds(1)
        expect(closed).to.deep.equal(['reset'])
        expect(hooks.begun).to.deep.equal(['a', 'b'])
        hooks.end()
        await rounds()
        expect(errors).to.deep.equal([])
      },
    )
  })

  it('of a client connection are bounded, too', async () => {
    const hooks = new Hooks()
    await withReactor({ framing: lines(), message: (conn) => void conn.write('a\nb\nc\n') }, async (port, _, reactor) => {
      const up = await reactor.connect(
        { port, host: '127.0.0.1' },
        { framing: lines(), maxPendingMessages: 1, message: (_conn, frame) => hooks.hold(frame) },
      )
      up.write('go\n')
      await hooks.until(1)
      await rounds()
      expect(hooks.begun).to.deep.equal(['a'])
      await hooks.endAll(3)
      expect(hooks.begun).to.deep.equal(['a', 'b', 'c'])
      expect(hooks.most).to.equal(1)
      up.destroy()
    })
  })

  it('a stream made in one of them is read', async () => {
    const got: string[] = []
    await withReactor(
      {
        framing: lines(),
        maxPendingMessages: 1,
        async message(conn) {
          const stream = conn.toDuplex()
          for await (const chunk of stream) got.push(String(chunk))
          stream.end()
        },
      },
      async (port) => {
        const client = await Client.connect(port)
        client.write('go\nrest')
        while (got.join('') !== 'rest') await rounds(1)
        client.socket.end(' more')
        await client.until((one) => one.closed)
        expect(got.join('')).to.equal('rest more')
      },
    )
  })

  it('a pipe made in one of them is read', async () => {
    await withReactor({ message: (conn, frame) => void conn.write(`<${frame}>`) }, async (echo) => {
      const hold = new Hooks()
      await withReactor(
        {
          framing: lines(),
          maxPendingMessages: 1,
          async message(conn, frame) {
            const up = await conn.reactor.connect({ port: echo, host: '127.0.0.1' })
            conn.pipe(up)
            await hold.hold(frame)
          },
        },
        async (port) => {
          const client = await Client.connect(port)
          client.write('go\n')
          await hold.until(1)
          client.write('rest')
          await client.until((one) => one.received.toString() === '<rest>')
          client.destroy()
          hold.end()
        },
      )
    })
  })

  it('a close of the reactor answers what waited behind them', async () => {
    const hooks = new Hooks()
    const reactor = new Reactor()
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      {
        framing: lines(),
        maxPendingMessages: 1,
        async message(conn, frame) {
          await hooks.hold(frame)
          conn.write(`${frame}\n`)
        },
      },
    )
    const client = await Client.connect(port)
    client.write('a\nb\nc\n')
    await hooks.until(1)
    const closed = reactor.close()
    await rounds()
    await hooks.endAll(3)
    await client.until((one) => one.closed)
    expect(client.received.toString()).to.equal('a\nb\nc\n')
    expect(await closed).to.deep.equal({ destroyed: 0 })
  })

  it('a reload waits for them, and the next thread goes on behind them', async () => {
    await using server = await serve({ app: app('pending'), listen: { port: 0, host: '127.0.0.1' }, reactors: 1 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write(`${numbers(40).join('\n')}\n`)
    await client.lines(3)
    await server.reload()
    client.write(`${numbers(40, 40).join('\n')}\n`)
    expect(await client.lines(80)).to.deep.equal(numbers(80))
    client.destroy()
  })

  it('a move to another reactor waits for them', async () => {
    await using server = await serve({ app: app('pending'), listen: { port: 0, host: '127.0.0.1' }, reactors: 2 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write(`${numbers(20).join('\n')}\nmove\n${numbers(20, 20).join('\n')}\n`)
    expect(await client.lines(41)).to.deep.equal([...numbers(20), 'move', ...numbers(20, 20)])
    client.destroy()
  })

  for (const value of [0, 1.5, '1', 2 ** 20 + 1]) {
    it(`refuses maxPendingMessages: ${JSON.stringify(value)}`, async () => {
      await using reactor = new Reactor()
      const handlers = { message: () => {}, maxPendingMessages: value as number }
      const failure = await reactor.listen({ port: 0, host: '127.0.0.1' }, handlers).then(
        () => undefined,
        (error: { code: string }) => error.code,
      )
      expect(failure).to.be.oneOf(['ERR_MR_OPTION_RANGE', 'ERR_MR_OPTION_TYPE'])
    })
  }
})
