import {
  CommandReader,
  decodeValue,
  encodeCommand,
  encodeReplies,
  mqtt,
  type ReplyWriter,
  RespError,
  type RespValue,
  resp,
  respValues,
} from '@multireactor/codecs'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import fc from 'fast-check'
import { Client } from '../support/client.js'

function commandsOf(bytes: string | Uint8Array): string[][] {
  const reader = new CommandReader(Buffer.from(bytes as string, 'latin1'))
  const all: string[][] = []
  while (reader.next()) all.push(reader.texts())
  return all
}

describe('RESP commands', () => {
  it('are refused, and do not run for ever, where the framing has not looked at the bytes', () => {
    const parts = [
      '*',
      '$',
      '1',
      '2',
      '9999999999',
      '-',
      '\r\n',
      '\r',
      '/',
      ' ',
      '*1\r\n$4\r\nPING\r\n',
      '$-9\r\n',
      '*2\r\n$1\r\n',
    ]
    const readAll = (bytes: Buffer): void => {
      const reader = new CommandReader(bytes)
      // Each command takes a byte at least.
      for (let left = bytes.length; reader.next(); left--) expect(left).to.be.above(0)
    }
    for (const text of ['*3', '*3\r\n', '*1\r\n$4\r\nPIN', '*-', '*-1', '*1\r\n$-9\r\n\r\n', '*9999999999\r\n', '*1\r\n$/\r\n']) {
      expect(() => readAll(Buffer.from(text)), text)
        .to.throw()
        .with.property('code', 'ERR_MR_DATA')
    }
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...parts), { maxLength: 12 }), (chosen) => {
        try {
          readAll(Buffer.from(chosen.join('')))
        } catch (error) {
          expect(error).to.have.property('code', 'ERR_MR_DATA')
        }
      }),
    )
  })

  it('are read as they were encoded, whatever bytes they have', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 5 }), { maxLength: 4 }),
        (commands) => {
          const reader = new CommandReader(Buffer.concat(commands.map((words) => encodeCommand(words))))
          for (const words of commands) {
            expect(reader.next()).to.equal(true)
            expect(reader.count).to.equal(words.length)
            for (const [i, word] of words.entries()) {
              expect(reader.bytes(i).equals(word)).to.equal(true)
              expect(Buffer.from(reader.text(i), 'latin1').equals(word)).to.equal(true)
              expect(reader.length(i)).to.equal(word.length)
            }
          }
          expect(reader.next()).to.equal(false)
        },
      ),
    )
  })

  it('are text of any length, one character for a byte', () => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
    const words = Array.from({ length: 257 }, (_, length) => every.subarray(256 - length))
    const reader = new CommandReader(encodeCommand(words))
    reader.next()
    for (const [i, word] of words.entries()) expect(reader.text(i)).to.equal(word.toString('latin1'))
  })

  it('are known by their names, also when one that begins alike came before', () => {
    const names = ['get', 'GETSET', 'GE', 'get', 'Get', 'SET', 'getset', '', 'GET']
    const reader = new CommandReader(Buffer.concat(names.map((name) => encodeCommand([name, 'x']))))
    for (const name of names) {
      reader.next()
      expect(reader.name()).to.equal(name.toUpperCase())
    }
  })

  it('may be lines of words, with quotes and escapes, and empty ones are passed over', () => {
    expect(commandsOf('SET k v\r\n')).to.deep.equal([['SET', 'k', 'v']])
    expect(commandsOf('\r\n\nPING\n*0\r\n*-1\r\n*-10\r\n*1\r\n$4\r\nPING\r\n')).to.deep.equal([['PING'], ['PING']])
    expect(commandsOf(String.raw`set "a b\x41\n" 'it\'s'   last` + '\r\n')).to.deep.equal([['set', 'a bA\n', "it's", 'last']])
    expect(commandsOf('get "unbalanced\r\n')).to.deep.equal([])
    expect(commandsOf(`a"b c"  d'e f' \t""\r\n`)).to.deep.equal([['ab c', 'de f', '']])
    // No space, though \s thinks so: the second byte of à in UTF-8.
    expect(commandsOf('set k \xc3\xa0\r\n')).to.deep.equal([['set', 'k', '\xc3\xa0']])
  })

  it('have names without case, and whole numbers', () => {
    const reader = new CommandReader(
      encodeCommand(['gEt', '-12', '9007199254740991', '9007199254740992', '007', '-0', '', '1x', '0']),
    )
    reader.next()
    expect(reader.name()).to.equal('GET')
    expect([1, 2, 3, 4, 5, 6, 7, 8].map((i) => reader.integer(i))).to.deep.equal([
      -12,
      9007199254740991,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      0,
    ])
    expect(() => reader.text(9)).to.throw(RangeError)
    const long = new CommandReader(encodeCommand(['x'.repeat(200)]))
    long.next()
    expect(long.name()).to.equal('')
  })
})

describe('RESP replies', () => {
  const write = (protocol: 2 | 3, how: (writer: ReplyWriter) => void): string =>
    encodeReplies((writer) => {
      writer.protocol = protocol
      how(writer)
    }).toString('latin1')

  it('are written in RESP2 and in RESP3', () => {
    const all = (writer: ReplyWriter) => {
      writer
        .simple('OK')
        .error('ERR a\r\nb')
        .integer(0)
        .integer(1234567890)
        .integer(-5)
        .integer(2n ** 60n)
      writer
        .bulk('é'.normalize())
        .bulk(Buffer.from([0, 255]))
        .null()
        .nullArray()
        .array(0)
        .set(1)
        .map(2)
        .push(3)
      writer.double(1.5).boolean(true).verbatim('hi')
    }
    const same = '+OK\r\n-ERR a b\r\n:0\r\n:1234567890\r\n:-5\r\n:1152921504606846976\r\n$1\r\n\xe9\r\n$2\r\n\0\xff\r\n'
    expect(write(2, all)).to.equal(`${same}$-1\r\n*-1\r\n*0\r\n*1\r\n*4\r\n*3\r\n$3\r\n1.5\r\n:1\r\n$2\r\nhi\r\n`)
    expect(write(3, all)).to.equal(`${same}_\r\n_\r\n*0\r\n~1\r\n%2\r\n>3\r\n,1.5\r\n#t\r\n=6\r\ntxt:hi\r\n`)
  })

  it('are read again by the client, however long', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string({ unit: 'binary-ascii', maxLength: 100 }), fc.integer(), fc.constant(null))),
        (values) => {
          const text = write(3, (writer) => {
            writer.array(values.length)
            for (const value of values) {
              if (value === null) writer.null()
              else if (typeof value === 'number') writer.integer(value)
              else writer.bulk(value)
            }
          })
          const read = decodeValue(Buffer.from(text, 'latin1')) as RespValue[]
          expect(read.map((value) => (Buffer.isBuffer(value) ? value.toString('latin1') : value))).to.deep.equal(values)
        },
      ),
    )
    const long = 'x'.repeat(3 << 20)
    expect(decodeValue(Buffer.from(write(2, (writer) => writer.bulk(long))))!.toString()).to.equal(long)
  })

  it('of every type are decoded', () => {
    const decode = (text: string) => decodeValue(Buffer.from(text, 'latin1'))
    expect(decode('%1\r\n$1\r\nk\r\n#f\r\n')).to.deep.equal(new Map([['k', false]]))
    expect(decode('~2\r\n:1\r\n:2\r\n')).to.deep.equal(new Set([1, 2]))
    expect(decode('>2\r\n+a\r\n_\r\n')).to.deep.equal({ push: ['a', null] })
    expect(decode('|1\r\n+ttl\r\n:1\r\n(12345678901234567890\r\n')).to.equal(12345678901234567890n)
    expect(decode(',-inf\r\n')).to.equal(-Infinity)
    expect(decode('=6\r\ntxt:hi\r\n')).to.equal('hi')
    const error = decode('!7\r\nERR bad\r\n') as RespError
    expect(error).to.be.instanceOf(RespError)
    expect([error.code, error.message]).to.deep.equal(['ERR', 'ERR bad'])
    for (const bad of ['', '+OK', '?x\r\n', '$5\r\nab\r\n', ':x\r\n', ':1\r\n:2\r\n']) {
      expect(() => decode(bad), bad)
        .to.throw()
        .with.property('code', 'ERR_MR_DATA')
    }
  })
})

describe('the framings of the codecs', () => {
  async function served(framing: ReturnType<typeof resp>, stream: Uint8Array, parts: number[]): Promise<string[]> {
    await using reactor = new Reactor()
    const { port } = await reactor.listen(
      { port: 0 },
      { framing, message: (conn, frame) => void conn.write(`${frame.toString('hex')}\n`) },
    )
    const client = await Client.connect(port)
    client.socket.setNoDelay(true)
    let at = 0
    for (const part of [...parts, stream.length]) {
      client.write(stream.subarray(at, part))
      await new Promise((resolve) => setImmediate(resolve))
      at = part
    }
    client.socket.end()
    await client.untilClosed()
    return client.received.toString().split('\n').slice(0, -1)
  }
  const hex = (text: string) => Buffer.from(text, 'latin1').toString('hex')

  it('deliver one command, value or packet each, in whatever parts they come', async () => {
    const command = encodeCommand(['SET', 'key', 'x'.repeat(300)])
    expect(await served(resp(), Buffer.concat([command, Buffer.from('PING\r\n'), command]), [1, 7, 40, 333])).to.deep.equal([
      command.toString('hex'),
      hex('PING\r\n'),
      command.toString('hex'),
    ])
    expect(await served(respValues(), Buffer.from('*2\r\n:1\r\n+a\r\n$3\r\nabc\r\n'), [3, 9, 17])).to.deep.equal([
      hex('*2\r\n:1\r\n+a\r\n'),
      hex('$3\r\nabc\r\n'),
    ])
    expect(await served(mqtt(), Buffer.from('\x10\x03abc\xc0\x00', 'latin1'), [1, 3])).to.deep.equal([
      hex('\x10\x03abc'),
      hex('\xc0\0'),
    ])
  })

  it('deliver whole commands together in a batch', async () => {
    const lines = await served(resp({ batch: true }), Buffer.from('PING\r\n'.repeat(3000)), [])
    expect(lines.join('')).to.equal(hex('PING\r\n'.repeat(3000)))
    expect(lines.length).to.be.below(3000)
  })

  it('close a connection that breaks the rules, after what was right', async () => {
    for (const [framing, bad, reason] of [
      [resp(), 'PING\r\n*1\r\n+', 'malformed-frame'],
      [resp({ maxArguments: 2 }), 'PING\r\n*3\r\n', 'frame-too-large'],
      [resp({ maxBulkBytes: 5 }), 'PING\r\n*1\r\n$6\r\n', 'frame-too-large'],
      [resp({ maxInlineBytes: 5 }), 'PING\r\nPINGING', 'frame-too-large'],
      [respValues({ maxDepth: 1 }), '+PING\r\n*1\r\n*1\r\n', 'frame-too-large'],
      [mqtt(), '\xc0\0\x90\x03abc', 'malformed-frame'],
      [mqtt({ maxBytes: 20 }), '\xc0\0\x10\x7f', 'frame-too-large'],
    ] as const) {
      await using reactor = new Reactor()
      let frames = 0
      const closed = new Promise<string>((resolve) => {
        void reactor
          .listen({ port: 0 }, { framing, message: () => void frames++, close: (_conn, why) => resolve(why) })
          .then(async ({ port }) => (await Client.connect(port)).write(Buffer.from(bad, 'latin1')))
      })
      expect(await closed, bad).to.equal(reason)
      expect(frames, bad).to.equal(1)
    }
  })

  it('refuse options that make no sense', () => {
    expect(() => resp({ maxByte: 1 } as object))
      .to.throw()
      .with.property('code', 'ERR_MR_UNKNOWN_OPTION')
    expect(() => resp({ maxBytes: 1000, maxBulkBytes: 1001 }))
      .to.throw()
      .with.property('code', 'ERR_MR_OPTION_RANGE')
    expect(() => respValues({ maxDepth: 33 }))
      .to.throw()
      .with.property('code', 'ERR_MR_OPTION_RANGE')
    expect(() => mqtt({ from: 'broker' as 'server' }))
      .to.throw()
      .with.property('code', 'ERR_MR_OPTION_RANGE')
  })
})
