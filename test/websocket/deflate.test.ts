import { once } from 'node:events'
import type { HttpAppOptions } from '@multireactor/http'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { HttpServer, statuses } from '../support/http.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import {
  behindHandshake,
  closeFrame,
  converse,
  deflated,
  deflatedFrames,
  dribbled,
  frame,
  handshake,
  wordsOf,
} from '../support/websocket.js'

const text = 1
const binary = 2
const field = 'Sec-WebSocket-Extensions'
const offer = 'permessage-deflate'
/** Compresses to about a third, and differs from place to place. */
function json(bytes: number): string {
  let all = ''
  for (let i = 0; all.length < bytes; i++) all += `{"id":${i},"name":"item ${(i * 7919) % 1000}","price":${(i * 31) % 97}},`
  return all.slice(0, bytes)
}

/** Bytes that deflate does not make shorter. */
function noise(bytes: number): Buffer {
  const all = Buffer.alloc(bytes)
  let next = 1
  for (let i = 0; i < bytes; i++) {
    next = (next * 48_271) % 0x7fff_ffff
    all[i] = next >> 8
  }
  return all
}

describe('permessage-deflate', () => {
  let left: ReturnType<typeof census>
  const servers: HttpServer[] = []
  const clients: { terminate(): void }[] = []
  beforeEach(() => {
    left = census()
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client.terminate()
    for (const server of servers.splice(0)) {
      await server.close()
      expect(server.errors).to.deep.equal([])
    }
    await new Promise((resolve) => setImmediate(resolve))
    expectNothingLeft(left)
  })

  async function start(websocket: NonNullable<HttpAppOptions['websocket']>, rest: HttpAppOptions = {}): Promise<HttpServer> {
    const server = await HttpServer.start({ ...rest, websocket })
    servers.push(server)
    return server
  }
  const echo = (more = {}): Promise<HttpServer> =>
    start({ deflate: { thresholdBytes: 0 }, message: (ws, data) => ws.send(data), ...more })
  async function open(server: HttpServer, options = {}): Promise<WebSocket> {
    const client = new WebSocket(`ws://127.0.0.1:${server.port}/`, { perMessageDeflate: { threshold: 0 }, ...options })
    clients.push(client)
    await once(client, 'open')
    return client
  }
  /** The messages of the server until it closes. */
  async function talk(server: HttpServer, frames: Uint8Array, windowBits = 15, extensions = offer): Promise<string[]> {
    const once_ = await server.exchange(handshake({ [field]: extensions }), frames)
    const words = wordsOf(behindHandshake(once_), windowBits)
    // However it comes.
    const parts = dribbled(Buffer.from(frames))
    const again = wordsOf(behindHandshake(await server.exchange(handshake({ [field]: extensions }), ...parts)), windowBits)
    expect(again).to.deep.equal(words)
    return words
  }

  // ---------------------------------------------------------------- the handshake

  it('is off unless it is asked for, whatever the client says', async () => {
    for (const options of [{}, { deflate: false }]) {
      const server = await start({ ...options, message() {} })
      const answer = await server.exchange(handshake({ [field]: `${offer}; ` }), closeFrame(1000))
      expect(statuses(answer)).to.deep.equal([101])
      expect(answer).not.to.include(field)
      expect(await converse(server.port, [handshake(), frame(text, 'a', { first: 0xc1 })])).to.deep.equal([
        'close 1002 malformed-frame',
      ])
    }
  })

  it('is agreed on with the first offer that can be, without context on either side', async () => {
    const none = `${offer}; server_no_context_takeover; client_no_context_takeover`
    const cases: [offered: string, agreed: string | undefined][] = [
      [offer, none],
      ['x-other, permessage-deflate', none],
      [`${offer}; client_max_window_bits`, none],
      [`${offer}; client_max_window_bits=10; server_no_context_takeover; client_no_context_takeover`, none],
      [`${offer}; server_max_window_bits=8`, `${none}; server_max_window_bits=8`],
      [`${offer};server_max_window_bits="1\\0"`, `${none}; server_max_window_bits=10`],
      [`${offer}; server_max_window_bits=15`, `${none}; server_max_window_bits=15`],
      [`${offer}; unknown, ${offer}; server_max_window_bits=9`, `${none}; server_max_window_bits=9`],
      ['x-other', undefined],
      [`${offer}; unknown=1`, undefined],
      [`${offer}; server_max_window_bits`, undefined],
      [`${offer}; server_max_window_bits=7`, undefined],
      [`${offer}; server_max_window_bits=16`, undefined],
      [`${offer}; server_max_window_bits=08`, undefined],
      [`${offer}; server_no_context_takeover=true`, undefined],
      [`${offer}; client_no_context_takeover; client_no_context_takeover`, undefined],
      ['Permessage-Deflate', undefined],
    ]
    const server = await echo()
    for (const [offered, agreed] of cases) {
      const answer = await server.exchange(handshake({ [field]: offered }), closeFrame(1000))
      expect(/Sec-WebSocket-Extensions: (.*)\r/.exec(answer)?.[1], offered).to.equal(agreed)
    }
  })

  it('keeps to the windows of its options, and declines a client that cannot be told', async () => {
    const server = await echo({ deflate: { serverMaxWindowBits: 11, clientMaxWindowBits: 10 } })
    const none = `${offer}; server_no_context_takeover; client_no_context_takeover`
    for (const [offered, agreed] of [
      [offer, undefined],
      [`${offer}; client_max_window_bits`, `${none}; server_max_window_bits=11; client_max_window_bits=10`],
      [
        `${offer}; client_max_window_bits=9; server_max_window_bits=12`,
        `${none}; server_max_window_bits=11; client_max_window_bits=9`,
      ],
    ]) {
      const answer = await server.exchange(handshake({ [field]: offered }), closeFrame(1000))
      expect(/Sec-WebSocket-Extensions: (.*)\r/.exec(answer)?.[1], offered).to.equal(agreed)
    }
  })

  it('refuses a field that is not a list of extensions', async () => {
    const server = await echo()
    for (const field_ of [
      '',
      ',',
      'a b',
      `${offer};`,
      `${offer}; a=`,
      `${offer}; a="b`,
      `${offer}; a="b c"`,
      '=',
      `${offer}; a=""`,
    ]) {
      const answer = await server.exchange(handshake({ [field]: field_, Connection: 'Upgrade, close' }))
      expect(statuses(answer), field_).to.deep.equal([400])
    }
  })

  // ---------------------------------------------------------------- messages

  it('inflates what comes and compresses what goes, of every kind, size and fragmentation', async () => {
    const server = await echo()
    const client = await open(server)
    expect(client.extensions).to.include('permessage-deflate')
    const got: string[] = []
    client.on('message', (data: Buffer, isBinary) => got.push(`${isBinary} ${data.toString('latin1')}`))
    const sizes = [0, 1, 2, 100, 125, 126, 1_000, 16_384, 16_385, 65_535, 65_536, 300_000, 1 << 20]
    for (const size of sizes) {
      client.send(json(size))
      client.send(Buffer.from(json(size)))
    }
    client.send(json(70_000).slice(0, 50_000), { fin: false })
    client.ping('between')
    client.send(json(70_000).slice(50_000), { fin: true })
    while (got.length < sizes.length * 2 + 1) await once(client, 'message')
    const wanted = sizes.flatMap((size) => [`false ${json(size)}`, `true ${json(size)}`])
    expect(got.map((each) => each.length)).to.deep.equal([...wanted.map((each) => each.length), 70_006])
    expect(got).to.deep.equal([...wanted, `false ${json(70_000)}`])
  })

  it('takes a compressed message in any number of frames, and messages of nothing', async () => {
    const server = await echo()
    const frames = Buffer.concat([
      deflatedFrames(text, 'hello hello hello hello', 5),
      deflatedFrames(text, 'grüße grüße grüße grüße', 9),
      // zlib's of nothing, and that of senders that have nothing left of it.
      frame(text, Buffer.from([0]), { first: 0xc1 }),
      frame(binary, '', { first: 0xc2 }),
      // Not compressed, between those that are.
      frame(text, 'plain'),
      closeFrame(1000),
    ])
    expect(await talk(server, frames)).to.deep.equal([
      'text* hello hello hello hello',
      `text* ${Buffer.from('grüße grüße grüße grüße').toString('latin1')}`,
      'text',
      'binary',
      'text plain',
      'close 1000',
    ])
  })

  it('takes every kind of block, last ones as well, and what refers across them', async () => {
    const server = await echo()
    const hello = 'Hello Hello Hello'
    const { constants } = await import('node:zlib')
    // RFC 7692, section 7.2.3: one block, stored, with BFINAL, and two blocks.
    const samples = [
      [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
      [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
      [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
      [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
      // A last block without the byte that would have to follow it.
      [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
    ]
    for (const sample of samples) {
      const frames = Buffer.concat([frame(text, Buffer.from(sample), { first: 0xc1 }), closeFrame(1000)])
      expect(await talk(server, frames)).to.deep.equal(['text Hello', 'close 1000'])
    }
    const fixed = deflatedFrames(text, hello, 1, { strategy: constants.Z_FIXED })
    expect(await talk(server, Buffer.concat([fixed, closeFrame(1000)]))).to.deep.equal([`text* ${hello}`, 'close 1000'])
  })

  it('sends what is shorter than the threshold, and what does not become shorter, as it is', async () => {
    const server = await echo({ deflate: { thresholdBytes: 100 } })
    const random = noise(300)
    const frames = Buffer.concat([
      frame(text, 'a'.repeat(99)),
      frame(text, 'a'.repeat(100)),
      frame(binary, random),
      closeFrame(1000),
    ])
    expect(await talk(server, frames)).to.deep.equal([
      `text ${'a'.repeat(99)}`,
      `text* ${'a'.repeat(100)}`,
      `binary ${random.toString('latin1')}`,
      'close 1000',
    ])
  })

  it('compresses for the window that the client has asked for', async () => {
    const server = await echo()
    for (const bits of [8, 9, 12, 15]) {
      const big = json(40_000)
      const frames = Buffer.concat([deflatedFrames(text, json(250)), deflatedFrames(text, big), closeFrame(1000)])
      // zlib refuses references further back than that.
      const words = await talk(server, frames, bits, `${offer}; server_max_window_bits=${bits}`)
      const star = bits === 8 ? '' : '*'
      expect(words).to.deep.equal([`text* ${json(250)}`, `text${star} 40000 bytes`, 'close 1000'])
    }
  })

  // ---------------------------------------------------------------- hostile peers

  it('refuses RSV bits wherever they may not stand', async () => {
    const server = await echo()
    const whole = deflated('hello')
    const wrong: [string, Buffer][] = [
      ['RSV1 of a continuation', Buffer.concat([frame(text, 'a', { first: 0x01 }), frame(0, whole, { first: 0xc0 })])],
      ['RSV1 of a Ping', frame(9, 'p', { first: 0xc9 })],
      ['RSV1 of a Pong', frame(10, 'p', { first: 0xca })],
      ['RSV1 of a Close frame', frame(8, Buffer.from([3, 0xe8]), { first: 0xc8 })],
      ['RSV2', frame(text, whole, { first: 0xa1 })],
      ['RSV3', frame(text, whole, { first: 0x91 })],
      ['RSV1 and RSV2', frame(text, whole, { first: 0xe1 })],
      ['an unknown opcode', frame(3, whole, { first: 0xc3 })],
    ]
    for (const [what, frames] of wrong) expect(await talk(server, frames), what).to.deep.equal(['close 1002 malformed-frame'])
    // Not agreed on.
    expect(await talk(server, deflatedFrames(text, 'hello'), 15, 'x-other')).to.deep.equal(['close 1002 malformed-frame'])
  })

  it('refuses what deflate does not make, what is cut off, and text that is not UTF-8, each with 1007', async () => {
    const server = await echo()
    const whole = deflated(json(500))
    const broken: [string, Uint8Array][] = [
      ['a block of a kind that does not exist', Buffer.from([0xff, 0xff])],
      ['a stored block whose length is wrong', Buffer.from([0, 5, 0, 1, 2, 0x48])],
      ['too far back', Buffer.from([0x4b, 0x04, 0x12, 0x00])],
      ['cut off', whole.subarray(0, whole.length >> 1)],
      ['nothing but a beginning', Buffer.from([0x4a])],
      [
        'more last blocks than any sender makes',
        Buffer.concat(Array.from({ length: 100 }, () => Buffer.from([1, 0, 0, 0xff, 0xff]))),
      ],
      ['garbage behind a last block', Buffer.from([0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xff])],
    ]
    for (const [what, payload] of broken) {
      const words = await talk(server, frame(binary, payload, { first: 0xc2 }))
      expect(words, what).to.deep.equal(['close 1007 the message is not valid deflate data'])
    }
    const bad = await talk(server, deflatedFrames(text, Buffer.from([0x48, 0xc3])))
    expect(bad).to.deep.equal(['close 1007 the text is not UTF-8'])
    const same = await talk(server, Buffer.concat([deflatedFrames(binary, Buffer.from([0x48, 0xc3])), closeFrame(1000)]))
    expect(same).to.deep.equal(['binary H\xc3', 'close 1000'])
  })
})
