import { expect } from 'chai'
import { HttpServer, statuses } from '../support/http.js'
import { accept, behindHandshake, closeFrame, converse, dribbled, frame, handshake, wordsOf } from '../support/websocket.js'

const text = 1
const binary = 2
const ping = 9
const pong = 10
const bye = closeFrame(1000)
const longText = 'x'.repeat(70_000)

describe('RFC 6455', () => {
  let server: HttpServer
  /** The messages that the app has got. */
  let seen: string[] = []
  let onClosed = (): void => {}
  before(async () => {
    server = await HttpServer.start({
      request: (_req, res) => res.end('http'),
      websocket: {
        maxMessageBytes: 100_000,
        message(ws, data, isBinary) {
          seen.push(isBinary ? `binary ${data.length}` : `text ${data.length}`)
          ws.send(data)
        },
        pong: (_ws, data) => seen.push(`pong ${data.toString()}`),
        close(_ws, code, reason) {
          seen.push(`close ${code}${reason === '' ? '' : ` ${reason}`}`)
          onClosed()
        },
      },
    })
  })
  beforeEach(() => {
    seen = []
  })
  after(async () => {
    await server.close()
    expect(server.errors).to.deep.equal([])
  })

  /** With every fragmentation: all at once with the handshake, and byte by byte. */
  async function both(frames: Buffer): Promise<{ sent: string[]; seen: string[] }> {
    const outcome = async (parts: (string | Uint8Array)[]): Promise<{ sent: string[]; seen: string[] }> => {
      seen = []
      const closed = new Promise<void>((resolve) => {
        onClosed = resolve
      })
      const sent = await converse(server.port, parts)
      await closed
      return { sent, seen }
    }
    const whole = await outcome([Buffer.concat([Buffer.from(handshake()), frames])])
    expect(await outcome([handshake(), ...dribbled(frames)])).to.deep.equal(whole)
    return whole
  }

  // ---------------------------------------------------------------- the handshake

  it('4.2.2: a handshake is answered with 101 and the accept of its key', async () => {
    const answer = await server.exchange(handshake(), bye)
    expect(answer.slice(0, answer.indexOf('\r\n\r\n') + 4)).to.equal(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
  })

  const refused: [claim: string, status: number, request: string, field?: RegExp][] = [
    ['4.1: another method is refused', 405, handshake({}, 'POST /chat HTTP/1.1'), /Allow: GET\r\n/],
    ['4.1: a handshake without Host is refused', 400, handshake({ Host: undefined })],
    ['4.2.1: a handshake without key is refused', 400, handshake({ 'Sec-WebSocket-Key': undefined })],
    ['4.2.1: a key that is too short is refused', 400, handshake({ 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZQ==' })],
    ['4.2.1: a key that is too long is refused', 400, handshake({ 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZTEyMw==' })],
    ['4.2.1: a key that is no base64 is refused', 400, handshake({ 'Sec-WebSocket-Key': '?GhlIHNhbXBsZSBub25jZQ==' })],
    [
      '11.3.1: a second key is refused',
      400,
      handshake().replace('Upgrade: websocket\r\n', `Upgrade: websocket\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n`),
    ],
    [
      '4.4: another version is refused, and ours named',
      426,
      handshake({ 'Sec-WebSocket-Version': '8' }),
      /Sec-WebSocket-Version: 13\r\n/,
    ],
    ['4.2.1: a handshake without version is refused', 426, handshake({ 'Sec-WebSocket-Version': undefined }), /Version: 13\r\n/],
    ['4.1: two equal subprotocols are refused', 400, handshake({ 'Sec-WebSocket-Protocol': 'a, b, a' })],
    ['4.1: a subprotocol that is no token is refused', 400, handshake({ 'Sec-WebSocket-Protocol': 'a b' })],
    ['4.1: a handshake with a body is refused', 400, `${handshake({ 'Content-Length': '2' })}ab`],
    ['4.1: a handshake with chunks is refused', 400, `${handshake({ 'Transfer-Encoding': 'chunked' })}0\r\n\r\n`],
  ]
  const last = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
  for (const [claim, status, request, field = /HTTP/] of refused) {
    it(`${claim}, however it arrives`, async () => {
      const whole = await server.exchange(request + last)
      // A request that HTTP itself refuses closes; behind a refused handshake, HTTP goes on.
      expect(statuses(whole)).to.deep.equal(
        request.includes('Host: a') && !request.includes('chunked') ? [status, 200] : [status],
      )
      expect(whole).to.match(field)
      expect(await server.exchange(...dribbled(Buffer.from(request + last)))).to.equal(whole)
      expect(seen).to.deep.equal([])
    })
  }

  const plain: [claim: string, request: string][] = [
    ['4.2.1: HTTP/1.0 cannot be upgraded', handshake({ Connection: 'upgrade, keep-alive' }, 'GET /chat HTTP/1.0')],
    ['4.2.1: without Connection: Upgrade it is a request', handshake({ Connection: 'keep-alive' })],
    ['4.2.1: another protocol is not ours', handshake({ Upgrade: 'h2c' })],
  ]
  for (const [claim, request] of plain) {
    it(claim, async () => {
      const answer = await server.exchange(request + last)
      expect(statuses(answer)).to.deep.equal([200, 200])
    })
  }

  for (const [claim, fields] of [
    ['4.2.1: tokens are read without regard to case', { Upgrade: 'WebSocket', Connection: 'UPGRADE' }],
    ['4.2.1: tokens may stand in lists', { Upgrade: 'h2c, websocket', Connection: 'keep-alive, Upgrade' }],
  ] as const) {
    it(claim, async () => {
      expect(wordsOf(behindHandshake(await server.exchange(handshake(fields), bye)))).to.deep.equal(['close 1000'])
    })
  }

  it('requests before the handshake are answered before it, in order', async () => {
    const answer = await server.exchange(`GET / HTTP/1.1\r\nHost: a\r\n\r\n${handshake()}`, frame(text, 'hi'), bye)
    expect(statuses(answer)).to.deep.equal([200, 101])
    expect(wordsOf(Buffer.from(answer.slice(answer.lastIndexOf('\r\n\r\n') + 4), 'latin1'))).to.deep.equal([
      'text hi',
      'close 1000',
    ])
  })

  // ---------------------------------------------------------------- frames

  const good: [claim: string, frames: Buffer[], sent: string[]][] = [
    ['5.6: text comes back as text', [frame(text, 'hello')], ['text hello']],
    ['5.6: bytes come back as bytes', [frame(binary, Buffer.from([0, 255, 128]))], ['binary \0\xff\x80']],
    ['5.6: an empty message is one', [frame(text), frame(binary)], ['text', 'binary']],
    ['5.2: a length of 125 bytes', [frame(binary, Buffer.alloc(125, 'a'))], [`binary ${'a'.repeat(125)}`]],
    ['5.2: a length of 126 bytes', [frame(binary, Buffer.alloc(126, 'a'))], [`binary ${'a'.repeat(126)}`]],
    ['5.2: a length of 65,535 bytes', [frame(text, 'b'.repeat(65_535))], ['text 65535 bytes']],
    ['5.2: a length of 65,536 bytes', [frame(text, 'b'.repeat(65_536))], ['text 65536 bytes']],
    ['5.3: a mask of zeros is one', [frame(text, 'zero', { mask: [0, 0, 0, 0] })], ['text zero']],
    [
      '8.1: text may be any UTF-8',
      [frame(text, 'κόσμε 𝄞\uffff\0')],
      [`text ${Buffer.from('κόσμε 𝄞\uffff\0').toString('latin1')}`],
    ],
    [
      '5.4: fragments make one message',
      [frame(text, 'a', { fin: false }), frame(0, 'b', { fin: false }), frame(0, 'c')],
      ['text abc'],
    ],
    ['5.4: fragments may be empty', [frame(binary, '', { fin: false }), frame(0, '', { fin: false }), frame(0)], ['binary']],
    [
      '8.1: a character may be split over fragments',
      [frame(text, Buffer.from([0xf0, 0x9d]), { fin: false }), frame(0, Buffer.from([0x84, 0x9e]))],
      ['text \xf0\x9d\x84\x9e'],
    ],
    [
      '5.4: control frames may come between fragments, and are answered at once',
      [frame(text, 'a', { fin: false }), frame(ping, 'now'), frame(pong), frame(0, 'b')],
      ['pong now', 'text ab'],
    ],
    ['5.5.2: a Ping is answered with its own bytes', [frame(ping, Buffer.alloc(125, 'p'))], [`pong ${'p'.repeat(125)}`]],
    ['5.5.3: a Pong that nobody asked for is not answered', [frame(pong, 'hi')], []],
    [
      '5.4: two messages one after the other, each in fragments',
      [frame(text, 'a', { fin: false }), frame(0, 'b'), frame(binary, 'c', { fin: false }), frame(0, 'd')],
      ['text ab', 'binary cd'],
    ],
  ]
  for (const [claim, frames, sent] of good) {
    it(`${claim}, however it arrives`, async () => {
      const result = await both(Buffer.concat([...frames, bye]))
      expect(result.sent).to.deep.equal([...sent, 'close 1000'])
      expect(result.seen.at(-1)).to.equal('close 1000')
    })
  }

  it('messages are many in one segment, and leave in their order', async () => {
    const frames = Array.from({ length: 3_000 }, (_, i) => frame(text, `${i}`))
    const sent = await converse(server.port, [handshake(), Buffer.concat([...frames, bye])])
    expect(sent).to.deep.equal([...frames.map((_, i) => `text ${i}`), 'close 1000'])
  })

  const wrong: [claim: string, code: number, frames: Buffer[]][] = [
    ['5.1: a frame without mask', 1002, [frame(text, 'a', { masked: false })]],
    ['5.2: the first reserved bit', 1002, [frame(text, 'a', { first: 0xc1 })]],
    ['5.2: the second reserved bit', 1002, [frame(text, 'a', { first: 0xa1 })]],
    ['5.2: the third reserved bit', 1002, [frame(text, 'a', { first: 0x91 })]],
    ['5.5: a reserved bit of a control frame', 1002, [frame(ping, 'a', { first: 0xc9 })]],
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode): [string, number, Buffer[]] => [
      `5.2: the unknown opcode ${opcode}`,
      1002,
      [frame(opcode, 'a')],
    ]),
    ['5.2: a length in two bytes that one would hold', 1002, [frame(text, 'a', { lengthBytes: 2 })]],
    ['5.2: a length in eight bytes that two would hold', 1002, [frame(text, 'a'.repeat(200), { lengthBytes: 8 })]],
    ['5.2: a length of 64 bits', 1002, [Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1])]],
    ['5.4: a continuation of nothing', 1002, [frame(0, 'a')]],
    ['5.4: a continuation of a message that has ended', 1002, [frame(text, 'a', { fin: false }), frame(0, 'b'), frame(0, 'c')]],
    ['5.4: a message within a message', 1002, [frame(text, 'a', { fin: false }), frame(text, 'b')]],
    ['5.5: a Ping of 126 bytes', 1002, [frame(ping, 'a'.repeat(126))]],
    ['5.5: a fragmented Ping', 1002, [frame(ping, 'a', { fin: false })]],
    ['5.5: a fragmented Close', 1002, [frame(8, '', { fin: false })]],
    ['5.5.1: a Close frame of one byte', 1002, [frame(8, 'a')]],
    ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map((code): [string, number, Buffer[]] => [
      `7.4: the code ${code}`,
      1002,
      [closeFrame(code)],
    ]),
    ['5.5.1: a reason that is not UTF-8', 1007, [closeFrame(1000, Buffer.from([0xc3]))]],
    ['8.1: text that is not UTF-8', 1007, [frame(text, Buffer.from([0xc3, 0x28]))]],
    ['8.1: text that ends within a character', 1007, [frame(text, Buffer.from([0x61, 0xe2, 0x82]))]],
    ['8.1: a surrogate in text', 1007, [frame(text, Buffer.from([0xed, 0xa0, 0x80]))]],
    ['8.1: an overlong form in text', 1007, [frame(text, Buffer.from([0xc0, 0xaf]))]],
    [
      '8.1: fragments that are UTF-8 in no way together',
      1007,
      [frame(text, Buffer.from([0xe2, 0x82]), { fin: false }), frame(0, 'abc')],
    ],
    ['7.4.1: a message that is too long, by its header alone', 1009, [Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0x86, 0xa1])]],
    ['7.4.1: a message whose fragments are too long together', 1009, [frame(text, longText, { fin: false }), frame(0, longText)]],
  ]
  for (const [claim, code, frames] of wrong) {
    it(`${claim} closes with ${code}, behind what came before, however it arrives`, async () => {
      const result = await both(Buffer.concat([frame(text, 'before'), ...frames, frame(text, 'never')]))
      expect(result.sent[0]).to.equal('text before')
      expect(result.sent.at(-1)).to.match(new RegExp(`^close ${code}\\b`))
      expect(result.sent).to.not.include('text never')
      expect(result.seen.at(-1)).to.match(new RegExp(`^close ${code}\\b`))
    })
  }

  // ---------------------------------------------------------------- the end

  const ends: [claim: string, frames: Buffer[], sent: string[], heard: string][] = [
    ['5.5.1: a Close frame is answered with its code', [closeFrame(3000, 'why')], ['close 3000'], 'close 3000 why'],
    ['7.1.5: a Close frame without code is answered with none', [frame(8)], ['close'], 'close 1005'],
    ['5.5.1: a reason of 123 bytes', [closeFrame(1001, 'r'.repeat(123))], ['close 1001'], `close 1001 ${'r'.repeat(123)}`],
    ...[1000, 1001, 1002, 1003, 1007, 1011, 1014, 3999, 4999].map((code): [string, Buffer[], string[], string] => [
      `7.4: the code ${code} may come`,
      [closeFrame(code)],
      [`close ${code}`],
      `close ${code}`,
    ]),
    [
      '5.5.1: nothing behind a Close frame is looked at',
      [bye, frame(text, 'late'), frame(ping), frame(3), bye],
      ['close 1000'],
      'close 1000',
    ],
    ['5.4: a Close frame may come between fragments', [frame(text, 'a', { fin: false }), bye], ['close 1000'], 'close 1000'],
  ]
  for (const [claim, frames, sent, heard] of ends) {
    it(`${claim}, however it arrives`, async () => {
      expect(await both(Buffer.concat(frames))).to.deep.equal({ sent, seen: [heard] })
    })
  }
})
