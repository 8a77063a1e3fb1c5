import { answerCommands, CommandReader, encodeCommand, encodeReplies, type ReplyWriter, resp } from '@multireactor/codecs'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { Client } from '../support/client.js'

type Answer = (command: CommandReader, out: ReplyWriter) => unknown

/** Writes a half reply, which is longer than any whole one, and fails as the argument says. */
const failing: Record<string, (out: ReplyWriter) => unknown> = {
  throw() {
    throw new Error('a command that throws')
  },
  // It would write its secret when another connection is being answered.
  async await(out) {
    await undefined
    out.bulk('secret')
  },
  *yield(out) {
    yield
    out.bulk('secret')
  },
}

const pong: Answer = (command, out) => {
  if (command.name() === 'PING') return out.simple('PONG')
  out.array(3).bulk('secret').bulk('secret')
  return failing[command.text(1)]!(out)
}

describe('a reply writer', () => {
  for (const way of Object.keys(failing)) {
    for (const framing of [resp(), resp({ batch: true })]) {
      it(`leaves nothing to the next connection: ${way}, ${framing.native!.batch ? 'batch' : 'one command'}`, async () => {
        const errors: unknown[] = []
        await using reactor = new Reactor({ onError: (error) => void errors.push(error) })
        const { port } = await reactor.listen(
          { port: 0 },
          { framing, message: (conn, frame) => void answerCommands(conn, frame, pong) },
        )
        const first = await Client.connect(port)
        first.write(`PING\r\nFAIL ${way}\r\nPING\r\n`)
        await first.untilClosed()
        // Replies before the failure are owed, replies behind it are not.
        expect(first.received.toString()).to.equal('+PONG\r\n')
        const second = await Client.connect(port)
        second.write('PING\r\nPING\r\n')
        await second.bytes(14)
        expect(second.received.toString()).to.equal('+PONG\r\n+PONG\r\n')
        expect(errors).to.have.length(1)
        second.destroy()
        await second.untilClosed()
      })
    }
  }

  it('ends with its callback', async () => {
    let kept: ReplyWriter | undefined
    encodeReplies((out) => {
      kept = out.simple('mine')
    })
    const late: ((out: ReplyWriter) => unknown)[] = [
      (out) => out.simple(''),
      (out) => out.error('E'),
      (out) => out.integer(1),
      (out) => out.bulk('x'),
      (out) => out.null(),
      (out) => out.array(0),
      (out) => out.map(1),
      (out) => out.raw('x'),
      (out) => out.verbatim('x'),
    ]
    const others = encodeReplies((out) => {
      out.simple('others')
      for (const write of late) {
        expect(() => write(kept!))
          .to.throw()
          .with.property('code', 'ERR_MR_REPLY_WRITER')
      }
    })
    expect(others.toString()).to.equal('+others\r\n')
    expect(kept!.size).to.equal(0)
  })

  it('refuses a promise and a generator, and what they do later is no unhandled rejection', async () => {
    const unhandled: unknown[] = []
    const listener = (reason: unknown) => void unhandled.push(reason)
    process.on('unhandledRejection', listener)
    for (const callback of [
      failing.await!,
      failing.yield!,
      // biome-ignore lint/suspicious/noThenProperty: a thenable counts as a promise
      () => ({ then: () => {} }),
      () => Promise.reject(new Error('lost')),
    ]) {
      expect(() => encodeReplies(callback))
        .to.throw()
        .with.property('code', 'ERR_MR_REPLY_WRITER')
    }
    // Rejections are looked at when the microtasks have run.
    await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', listener)
    expect(unhandled).to.deep.equal([])
  })

  it('refuses what is no text and no bytes, and nothing of an earlier reply comes along', () => {
    const lying = (length: number): Uint8Array => Object.defineProperty(new Uint8Array(2), 'length', { value: length })
    class Longer extends Uint8Array {
      override get length(): number {
        return 300
      }
    }
    const detached = new Uint8Array(8)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    const values = [lying(300), lying(-3), new Longer(2), new Proxy(new Uint8Array(2), {}), detached, new Uint16Array(2)]
    const writes: ((out: ReplyWriter, value: never) => unknown)[] = [
      (out, value) => out.bulk(value),
      (out, value) => out.raw(value),
      (out, value) => out.simple(value),
      (out, value) => out.error(value),
      (out, value) => out.verbatim(value),
      (out, value) => out.integer(value),
      (out, value) => out.double(value),
    ]
    for (const value of [
      ...values,
      undefined,
      null,
      {},
      { length: 300 },
      { replace: () => lying(300) },
      Symbol('none'),
      '1\r\n+2',
    ]) {
      for (const write of writes) {
        if (typeof value === 'string' && writes.indexOf(write) < 5) continue
        encodeReplies((out) => out.bulk('secret'.repeat(100)))
        const reply = encodeReplies((out) => {
          expect(() => write(out, value as never))
            .to.throw()
            .with.property('code')
            .that.is.oneOf(['ERR_MR_DATA', 'ERR_MR_OPTION_RANGE'])
        })
        expect(reply.toString()).to.equal('')
      }
    }
  })

  it('has room for the longest head, and writes the largest whole numbers in full', () => {
    const pad = 4096 - 16
    const head = encodeReplies((out) => out.raw('x'.repeat(pad)).map(Number.MAX_SAFE_INTEGER))
    expect(head.toString().slice(pad)).to.equal('*18014398509481982\r\n')
    const numbers = encodeReplies((out) =>
      out
        .integer(-1)
        .integer(2 ** 70)
        .integer(2n ** 64n),
    )
    expect(numbers.toString()).to.equal(':-1\r\n:1180591620717411303424\r\n:18446744073709551616\r\n')
  })

  it('lets a MiB of replies go before it answers the next command, and begins anew', () => {
    const parts: Buffer[] = []
    const writtenAt: number[] = []
    const conn = { write: (bytes: Buffer) => parts.push(bytes) }
    const value = 'v'.repeat(600 << 10)
    const commands = Buffer.concat(Array.from({ length: 5 }, () => encodeCommand(['GET', 'k'])))
    const error = new Error('of the last one')
    let asked = 0
    expect(() =>
      answerCommands(conn, commands, (_, out) => {
        writtenAt.push(parts.length)
        const before = out.size
        out.raw('half a reply')
        out.rewind(before)
        out.bulk(value)
        if (++asked === 5) throw error
      }),
    ).to.throw(error)
    expect(writtenAt).to.deep.equal([0, 0, 1, 1, 2])
    expect(parts.map((part) => part.length)).to.deep.equal([2, 2].map((count) => count * (value.length + 11)))
    expect(Buffer.concat(parts).equals(encodeReplies((out) => [1, 2, 3, 4].reduce((to) => to.bulk(value), out)))).to.equal(true)
  })

  it('within another one has bytes of its own, also when it throws', () => {
    encodeReplies((out) => out.simple('whose buffer is the next one to be used'))
    const outer = encodeReplies((out) => {
      out.array(3).bulk('a')
      const inner = encodeReplies((nested) => {
        nested.bulk('nested')
        out.bulk('b')
        nested.bulk('nested')
      })
      expect(inner.toString()).to.equal('$6\r\nnested\r\n'.repeat(2))
      expect(() =>
        encodeReplies((nested) => {
          nested.bulk('nested')
          throw new Error('within')
        }),
      ).to.throw('within')
      out.bulk('c')
    })
    expect(outer.toString()).to.equal('*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n')
  })

  for (const [size, what] of [
    [10, 'few'],
    [5000, 'many'],
    [3 << 20, 'very many'],
  ] as const) {
    it(`gives bytes away that nothing writes to again: ${what}`, () => {
      // A stream keeps the written chunks.
      const written: Uint8Array[] = []
      const stream = { write: (bytes: Uint8Array) => written.push(bytes) }
      const command = encodeCommand(['x'])
      answerCommands(stream, command, (_, out) => out.bulk('1'.repeat(size)))
      const encoded = encodeReplies((out) => out.bulk('2'.repeat(size)))
      answerCommands(stream, command, (_, out) => out.bulk('3'.repeat(size)))
      encodeReplies((out) => out.bulk('4'.repeat(size)))
      const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()
      expect(written.map(text)).to.deep.equal(['1', '3'].map((c) => `$${size}\r\n${c.repeat(size)}\r\n`))
      expect(text(encoded)).to.equal(`$${size}\r\n${'2'.repeat(size)}\r\n`)
    })
  }

  it('can be rewound over what it has written for this command, and no further', () => {
    const replies: Uint8Array[] = []
    const conn = { write: (bytes: Uint8Array) => replies.push(bytes) }
    const all = answerCommands(conn, Buffer.from('a\r\nb\r\n'), (command, out) => {
      const before = out.size
      out.bulk('half')
      for (const size of [out.size + 1, -1, 0.5, Number.NaN, ...(before > 0 ? [before - 1] : [])]) {
        expect(() => out.rewind(size))
          .to.throw()
          .with.property('code', 'ERR_MR_OPTION_RANGE')
      }
      out.rewind(before)
      out.simple(command.text(0))
    })
    expect(all).to.equal(true)
    expect(Buffer.concat(replies).toString()).to.equal('+a\r\n+b\r\n')
  })

  it('refuses numbers of elements that are none', () => {
    for (const count of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      for (const head of ['array', 'set', 'map', 'push'] as const) {
        expect(() => encodeReplies((out) => out[head](count)))
          .to.throw()
          .with.property('code', 'ERR_MR_OPTION_RANGE')
      }
    }
  })

  it('stops at false, and goes on with the same reader', () => {
    const replies: Uint8Array[] = []
    const conn = { write: (bytes: Uint8Array) => replies.push(bytes) }
    const commands = new CommandReader(Buffer.from('a\r\nstop\r\nb\r\n'))
    const answer: Answer = (command, out) => out.simple(command.text(0)) && command.text(0) !== 'stop'
    expect(answerCommands(conn, commands, answer)).to.equal(false)
    expect(answerCommands(conn, commands, answer)).to.equal(true)
    expect(answerCommands(conn, commands, answer)).to.equal(true)
    expect(replies.map(String)).to.deep.equal(['+a\r\n+stop\r\n', '+b\r\n'].map((text) => String(Buffer.from(text))))
  })
})

describe('a command reader', () => {
  it('goes on in its own frame behind an await, whatever came meanwhile', async () => {
    await using reactor = new Reactor()
    const { port } = await reactor.listen(
      { port: 0 },
      {
        framing: resp({ batch: true }),
        maxPendingMessages: 1,
        async message(conn, frame) {
          const commands = new CommandReader(frame)
          while (commands.next()) {
            await new Promise((resolve) => setImmediate(resolve))
            conn.write(encodeReplies((out) => out.bulk(commands.text(1))))
          }
        },
      },
    )
    const clients = await Promise.all(Array.from({ length: 4 }, () => Client.connect(port)))
    for (const [i, client] of clients.entries()) client.write(`ECHO ${i}\r\n`.repeat(50))
    for (const [i, client] of clients.entries()) {
      const expected = `$1\r\n${i}\r\n`.repeat(50)
      await client.bytes(expected.length)
      expect(client.received.toString()).to.equal(expected)
      client.destroy()
      await client.untilClosed()
    }
  })
})
