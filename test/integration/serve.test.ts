import { once } from 'node:events'
import net from 'node:net'
import { serve } from '@multireactor/core'
import { expect } from 'chai'
import { closedAs } from '../support/closed.js'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('serve', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('answers 20,000 frames of 16 connections, each in order, through V1, V2 and V3', async () => {
    for (const [reactors, pool, listeners] of [
      [1, 1, 1],
      [1, 2, 3],
      [2, 2, 1],
    ] as const) {
      await using_(await serve({ app: app('orders'), listen: Array(listeners).fill(0), reactors, pool }), async (server) => {
        const each = Math.ceil(20_000 / 3 / 16)
        await Promise.all(
          Array.from({ length: 16 }, async (_, n) => {
            const client = await Client.connect(server.listeners[n % listeners]!.port)
            let text = ''
            for (let i = 0; i < each; i++) text += `${JSON.stringify({ id: i, price: n, count: i })}\n`
            client.write(text)
            const lines = await client.lines(each)
            lines.forEach((line, i) => {
              expect(line).to.equal(JSON.stringify({ id: i, total: n * i }))
            })
            client.destroy()
          }),
        )
      })
    }
  })

  it('keeps the order of replies while frames run in parallel', async () => {
    await using_(await serve({ app: app('work'), listen: 0, reactors: 1, pool: 4 }), async (server) => {
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('sleep 40\nsleep 30\nsleep 20\nsleep 10\nnothing\necho done\n')
      expect(await client.lines(5)).to.deep.equal(['slept 40', 'slept 30', 'slept 20', 'slept 10', 'done'])
      client.destroy()
    })
  })

  it('runs four blocking 50 ms frames of one connection on four workers, cold and after 10,000 cheap ones', async function () {
    this.retries(0)
    await using_(await serve({ app: app('work'), listen: 0, reactors: 1, pool: 4 }), async (server) => {
      const client = await Client.connect(server.listeners[0]!.port)
      const four = async (): Promise<{ ran: number[] }> => {
        const started = server.stats().workers.map((worker) => worker.framesStarted)
        const lines = client.received.toString().split('\n').length - 1
        client.write('spin 50\nspin 50\nspin 50\nspin 50\n')
        await client.lines(lines + 4)
        return { ran: server.stats().workers.map((worker, i) => worker.framesSettled - started[i]!) }
      }
      // Spinning threads share two cores in the tests, so the test checks the spread over workers, not the time.
      expect((await four()).ran.filter((frames) => frames === 1)).to.have.length(4)
      const cheap = 'echo x\n'.repeat(10_000)
      client.write(cheap)
      await client.lines(10_004)
      const { ran } = await four()
      expect(ran.filter((frames) => frames > 0).length, `frames by worker: ${ran}`).to.be.at.least(3)
      client.destroy()
    })
  })

  it('sends every reply to a client that has shut down its writing side', async () => {
    await using_(await serve({ app: app('work'), listen: 0, reactors: 2, pool: 2 }), async (server) => {
      const client = await Client.connect(server.listeners[0]!.port)
      client.socket.end('sleep 20\necho a\necho b\n')
      await client.untilClosed()
      expect(client.received.toString()).to.equal('slept 20\na\nb\n')
      expect(client.error).to.equal(undefined)
    })
  })

  it('takes every kind of reply', async () => {
    await using_(await serve({ app: app('work'), listen: 0, reactors: 1, pool: 2 }), async (server) => {
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('list\nstream 3\nwrite 2\nnothing\nwho\nend\necho never\n')
      await client.untilClosed()
      const lines = client.received.toString().split('\n')
      expect(lines.slice(0, 7)).to.deep.equal(['abc', 'part 0', 'part 1', 'part 2', 'part 0', 'part 1', 'last'])
      expect(lines[7]).to.match(/^\S+ (::ffff:)?127\.0\.0\.1 4 \d+$/)
      expect(lines.slice(8)).to.deep.equal(['bye', ''])
    })
  })

  it('lets the head of the order stream while later replies wait', async () => {
    await using_(await serve({ app: app('work'), listen: 0, reactors: 1, pool: 2 }), async (server) => {
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('large 40\necho after\n')
      await client.until((c) => c.received.subarray(-6).toString() === 'after\n')
      expect(client.received.length).to.equal(40 * (64 << 10) + 'last\nafter\n'.length)
      client.destroy()
    })
  })

  it('reports a parse that throws, and closes its connection only', async () => {
    await using_(await serve({ app: app('work'), listen: 0, reactors: 1, pool: 1 }), async (server) => {
      const other = await Client.connect(server.listeners[0]!.port)
      const client = await Client.connect(server.listeners[0]!.port)
      const reported = new Promise<Error>((resolve) => server.once('error', resolve))
      client.write('echo before\nthrow\necho after\n')
      await client.untilClosed()
      expect((await reported).message).to.equal('as asked')
      expect(client.received.toString()).to.equal('before\n')
      other.write('echo still\n')
      expect(await other.lines(1)).to.deep.equal(['still'])
      expect(await closedAs(server, 'parse-error', 1)).to.equal(1)
      other.destroy()
    })
  })

  it('replaces a worker that exits, and one that never returns', async () => {
    const pool = { size: 1, taskTimeoutMs: 300 }
    await using_(await serve({ app: app('work'), listen: 0, reactors: 1, pool }), async (server) => {
      for (const [command, reason] of [
        ['exit', 'task-lost'],
        ['forever', 'task-timeout'],
      ] as const) {
        const client = await Client.connect(server.listeners[0]!.port)
        const other = await Client.connect(server.listeners[0]!.port)
        const replaced = new Promise((resolve) => server.once('workerReplaced', resolve))
        client.write(`${command}\n`)
        await client.untilClosed()
        await replaced
        other.write('echo next\n')
        expect(await other.lines(1)).to.deep.equal(['next'])
        expect(await closedAs(server, reason, 1)).to.equal(1)
        other.destroy()
      }
    })
  })

  it('errs a late asynchronous frame alone', async () => {
    const pool = { size: 1, taskTimeoutMs: 500 }
    await using_(await serve({ app: app('work'), listen: 0, reactors: 1, pool }), async (server) => {
      server.on('error', () => {})
      const client = await Client.connect(server.listeners[0]!.port)
      const other = await Client.connect(server.listeners[0]!.port)
      client.write('hang\n')
      other.write('sleep 5\n')
      expect(await other.lines(1)).to.deep.equal(['slept 5'])
      await client.untilClosed()
      expect(await closedAs(server, 'task-timeout', 1)).to.equal(1)
      expect(server.stats().workersReplaced).to.equal(0)
      other.destroy()
    })
  })

  it('mixes inline, pool, deferred and called replies in the order of the frames', async () => {
    await using_(await serve({ app: app('both'), listen: 0, reactors: 1, pool: 2 }), async (server) => {
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('pool 30\ninline 1\ndefer 2\npool 5\ninline 3\ncall 1\ncallbad\ninline 4\n')
      expect(await client.lines(8)).to.deep.equal([
        'pool 30',
        'inline 1',
        'deferred 2',
        'pool 5',
        'inline 3',
        'called pool 1',
        'TypeError bad frame',
        'inline 4',
      ])
      client.destroy()
    })
  })

  it('cuts what follows an upgrade by the new framing, also when it came in the same packet', async () => {
    await using_(await serve({ app: app('both'), listen: 0, reactors: 1, pool: 1 }), async (server) => {
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('inline a\nupgrade\ninline b;inline c;')
      expect(await client.lines(4)).to.deep.equal(['inline a', 'upgraded', 'inline b', 'inline c'])
      client.destroy()
    })
  })

  it('delivers nothing between pause and resume', async () => {
    await using_(await serve({ app: app('both'), listen: 0, reactors: 1, pool: 1 }), async (server) => {
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('pause\ninline x\ninline y\n')
      expect(await client.lines(4)).to.deep.equal(['paused', 'resumed', 'inline x', 'inline y'])
      client.destroy()
    })
  })

  it('a throw in message costs its connection only', async () => {
    await using_(await serve({ app: app('both'), listen: 0, reactors: 1, pool: 1 }), async (server) => {
      const reported = new Promise<Error>((resolve) => server.once('error', resolve))
      const client = await Client.connect(server.listeners[0]!.port)
      const other = await Client.connect(server.listeners[0]!.port)
      client.write('throw\n')
      await client.untilClosed()
      expect((await reported).message).to.equal('as asked')
      other.write('inline still\n')
      expect(await other.lines(1)).to.deep.equal(['inline still'])
      other.destroy()
    })
  })

  it('stops reading when the queue is full, and loses nothing', async () => {
    const pool = { size: 1, maxQueued: 4 }
    await using_(await serve({ app: app('work'), listen: 0, reactors: 2, pool }), async (server) => {
      const clients = await Promise.all(Array.from({ length: 8 }, () => Client.connect(server.listeners[0]!.port)))
      for (const client of clients) client.write('echo 1\n'.repeat(2_000))
      for (const client of clients) {
        expect(await client.lines(2_000)).to.deep.equal(Array(2_000).fill('1'))
        client.destroy()
      }
      expect(server.stats().reactors.reduce((sum, reactor) => sum + reactor.pausesByQueue, 0)).to.be.above(0)
      expect(server.stats().queue.tasks).to.equal(0)
    })
  })

  it('stops reading from a client that does not read, and sends everything later', async () => {
    await using_(await serve({ app: app('echo'), listen: 0, reactors: 1, pool: 0 }), async (server) => {
      const socket = net.connect(server.listeners[0]!.port, '127.0.0.1')
      await once(socket, 'connect')
      const size = 24 << 20
      socket.write(Buffer.alloc(size, 'z'))
      const other = await Client.connect(server.listeners[0]!.port)
      other.write('hello')
      await other.bytes(5)
      let received = 0
      socket.on('data', (chunk: Buffer) => {
        received += chunk.length
        if (received === size) socket.end()
      })
      await once(socket, 'close')
      expect(received).to.equal(size)
      other.destroy()
    })
  })

  it('sends to a connection from the main thread, and says when it is gone', async () => {
    await using_(await serve({ app: app('work'), listen: 0, reactors: 2, pool: 1 }), async (server) => {
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('who\n')
      const id = BigInt((await client.lines(1))[0]!.split(' ')[3]!)
      expect(await server.send(id, 'pushed\n')).to.equal('sent')
      expect((await client.lines(2))[1]).to.equal('pushed')
      client.write('end\n')
      await client.untilClosed()
      await client.socket.destroy()
      // The next tenant of the slot must not get replies for the last one.
      const next = await Client.connect(server.listeners[0]!.port)
      next.write('who\n')
      await next.lines(1)
      expect(await server.send(id, 'stray\n')).to.equal('gone')
      next.write('echo only\n')
      expect((await next.lines(2))[1]).to.equal('only')
      next.destroy()
    })
  })

  it('answers what is in flight when it closes', async () => {
    const server = await serve({ app: app('work'), listen: 0, reactors: 2, pool: 2 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('echo first\n')
    await client.lines(1)
    client.write('sleep 50\necho second\n')
    // The frames have been received once the pool has started them.
    while (server.stats().reactors.reduce((sum, r) => sum + r.framesRead, 0) < 3) await new Promise(setImmediate)
    const closed = await server.close()
    await client.untilClosed()
    expect(client.received.toString()).to.equal('first\nslept 50\nsecond\n')
    expect(client.error).to.equal(undefined)
    expect(closed).to.deep.equal({ answered: 2, destroyed: 0, shed: 0 })
  })

  it('destroys what is still open when the time is over', async () => {
    const server = await serve({ app: app('work'), listen: 0, reactors: 1, pool: 1 })
    server.on('error', () => {})
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('hang\n')
    while (server.stats().workers[0]!.framesStarted < 1) await new Promise(setImmediate)
    expect((await server.close({ timeoutMs: 100 })).destroyed).to.equal(1)
    await client.untilClosed()
  })

  it('closes in finite time although a reactor is stuck in a hook', async () => {
    const server = await serve({ app: app('stuck'), listen: 0, reactors: 1, pool: 0 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('x')
    await client.bytes(1)
    client.write('y')
    while (server.stats().reactors[0]!.bytesRead < 2) await new Promise(setImmediate)
    expect((await server.close({ timeoutMs: 100 })).destroyed).to.equal(1)
    await client.untilClosed()
  })

  it('does not spin while the queue is full', async () => {
    const pool = { size: 2, maxQueued: 2 }
    await using_(await serve({ app: app('work'), listen: 0, reactors: 1, pool }), async (server) => {
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('spin 30\n'.repeat(20))
      await client.lines(20)
      expect(server.stats().reactors[0]!.turns).to.be.below(2_000)
      client.destroy()
    })
  })

  it('leaves nothing after ten rounds of a 2+2 server', async () => {
    for (let i = 0; i < 10; i++) {
      const server = await serve({ app: app('orders'), listen: 0, reactors: 2, pool: 2 })
      const client = await Client.connect(server.listeners[0]!.port)
      client.write('{"id":1,"price":2,"count":3}\n')
      expect(await client.lines(1)).to.deep.equal(['{"id":1,"total":6}'])
      client.destroy()
      await server.close()
    }
  })
})

async function using_<T extends AsyncDisposable>(resource: T, work: (resource: T) => Promise<void>): Promise<void> {
  try {
    await work(resource)
  } finally {
    await resource[Symbol.asyncDispose]()
  }
}
