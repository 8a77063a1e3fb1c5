import { once } from 'node:events'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { HttpServer } from '../support/http.js'

// The sizes, fragments and offers of Autobahn's cases 12 and 13: messages of which each is sent when the last one has come back. There
// are 1,000 of each; here a few, and `MESSAGES=1000` for all.
const messages = Number(process.env['MESSAGES'] ?? 3)
const sizes: [bytes: number, fragment: number][] = [
  ...[16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072].map((bytes): [number, number] => [bytes, 0]),
  ...[8192, 16_384, 32_768, 65_536, 131_072].map((bytes): [number, number] => [bytes, 256]),
  ...[1024, 4096, 32_768].map((fragment): [number, number] => [131_072, fragment]),
]

/** From a seed, so that all runs send the same. */
function random(): () => number {
  let next = 1
  return () => {
    next = (next * 48_271) % 0x7fff_ffff
    return next
  }
}
const words =
  'Habe nun ach Philosophie Juristerei und Medizin und leider auch Theologie durchaus studiert mit heißem Bemühn'.split(' ')
const data: Record<string, string | Buffer> = {
  JSON: Array.from(
    { length: 4_000 },
    (_, i) => `{"id":${i},"name":"größe ${(i * 7919) % 1000}","tags":["a","b${i % 9}"]}`,
  ).join(),
  text: Buffer.from(
    Array.from({ length: 40_000 }, random())
      .map((each) => words[each % words.length]!)
      .join(' '),
  ),
  'a picture': Buffer.from(Array.from({ length: 200_000 }, (_, i) => ((i % 512) + (i >> 9) * 2) & 255)),
  HTML: `<ul>${Array.from({ length: 4_000 }, (_, i) => `<li class="c${i % 4}"><a href="/item/${i}">Item ${i}</a></li>`).join('\n')}</ul>`,
  'what is compressed already': Buffer.from(Array.from({ length: 200_000 }, random()).map((each) => (each >> 8) & 255)),
}
const offers: Record<string, object> = {
  'nothing more': {},
  'no context': { serverNoContextTakeover: true },
  'a window of 9 bits': { serverMaxWindowBits: 9 },
  'a window of 15 bits': { serverMaxWindowBits: 15 },
  'no context and 9 bits': { serverNoContextTakeover: true, serverMaxWindowBits: 9 },
  'no context and 15 bits': { serverNoContextTakeover: true, serverMaxWindowBits: 15 },
  '9 bits on either side': { serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
}

describe('permessage-deflate, by the sizes of Autobahn', function () {
  this.timeout(60_000 + 1_000 * messages)
  let server: HttpServer
  before(async () => {
    server = await HttpServer.start({
      websocket: { deflate: { thresholdBytes: 0 }, message: (ws, message) => ws.send(message) },
    })
  })
  after(async () => {
    await server.close()
    expect(server.errors).to.deep.equal([])
  })

  async function echo(all: string | Buffer, options: object): Promise<void> {
    const client = new WebSocket(`ws://127.0.0.1:${server.port}/`, { perMessageDeflate: { threshold: 0, ...options } })
    await once(client, 'open')
    expect(client.extensions).to.include('permessage-deflate')
    let at = 0
    for (const [bytes, fragment] of sizes) {
      for (let i = 0; i < messages; i++) {
        const message = all.slice(at, at + bytes)
        at = (at + bytes) % (all.length - 131_072)
        const came = once(client, 'message')
        if (fragment === 0) client.send(message)
        for (let from = 0; fragment !== 0 && from < bytes; from += fragment) {
          const binary = typeof message !== 'string'
          client.send(message.slice(from, from + fragment), { fin: from + fragment >= bytes, binary })
        }
        const [echoed, isBinary] = (await came) as [Buffer, boolean]
        if (!echoed.equals(Buffer.from(message as string)) || isBinary !== (typeof message !== 'string')) {
          throw new Error(`${bytes} bytes in fragments of ${fragment} came back as something else`)
        }
      }
    }
    client.close()
    await once(client, 'close')
  }

  for (const [name, all] of Object.entries(data)) {
    it(`12: echoes ${name}, of every size and in every fragmentation`, () => echo(all, {}))
  }
  for (const [name, options] of Object.entries(offers)) {
    it(`13: echoes JSON for a client that offers ${name}`, () => echo(data['JSON']!, options))
  }
})
