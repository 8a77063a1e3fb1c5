import { once } from 'node:events'
import net from 'node:net'
import { frame as webSocketFrame, handshake } from '../support/websocket.js'
import type { Random } from '../support/random.js'
import { kind, letterOf, record, RecordReader } from './records.js'
import { addressOf, portOf, trace } from './story.js'

export const listeners = ['ordered', 'unordered', 'wild', 'pool', 'inline', 'http', 'ws'] as const
export type Listener = (typeof listeners)[number] | 'reactor' | 'wildReactor'

export interface Visit {
  sequence: number
  index: number
  listener: Listener
  port: number
  random: Random
}

export interface Seen {
  wrong: string | undefined
  /** The beginning of its received text. */
  text: string
  /** It has read all there was, up to an orderly end. */
  toTheEnd: boolean
  /** Records of kinds ordered and loose. */
  own: number
  publications: ReadonlyMap<string, string[]>
  /** It broke off inside a record. That is for the reason of the close to justify, which only the hook knows. */
  isTorn: boolean
}

/** A server that closes nothing by itself, since its app has paused or holds a reply back, is left by RST. */
const mostIdleMs = 40

const inTurn = (random: Random): Promise<void> =>
  random.below(3) === 0
    ? new Promise((resolve) => setTimeout(resolve, random.below(6)))
    : new Promise((resolve) => setImmediate(resolve))

/** One peer: sends, reads or not, and leaves in one of the ways there are. */
export async function visit({ sequence, index, listener, port, random }: Visit): Promise<Seen> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  let failed = false
  let ended = false
  let last = performance.now()
  const chunks: string[] = []
  socket.setEncoding('latin1')
  socket.on('error', () => {
    failed = true
  })
  socket.on('data', (chunk: string) => {
    last = performance.now()
    chunks.push(chunk)
  })
  socket.on('end', () => {
    ended = true
  })
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  const readsLate = random.below(5) === 0
  const never = random.below(12) === 0
  if (readsLate || never) socket.pause()
  await Promise.race([once(socket, 'connect').catch(() => {}), closed])
  const letter = letterOf(sequence, index)
  if (listener !== 'http' && listener !== 'ws') {
    const header = `PROXY TCP4 ${addressOf(sequence)} 10.0.0.1 ${portOf(index)} 1\r\n`
    // In pieces for some, while connections move and threads change.
    const cut = random.below(4) === 0 ? random.below(header.length) : 0
    if (cut > 0) {
      socket.write(header.slice(0, cut))
      await new Promise((resolve) => setTimeout(resolve, random.below(12)))
    }
    if (cut > 0 && random.below(8) === 0) socket.resetAndDestroy()
    else if (socket.writable) socket.write(header.slice(cut))
  }
  const pieces =
    listener === 'http'
      ? requests(sequence, index, letter, random)
      : listener === 'ws'
        ? messages(sequence, index, letter, random)
        : frames(sequence, letter, random)
  const all = Buffer.concat(pieces)
  for (let at = 0; at < all.length && !socket.destroyed; ) {
    const step = Math.max(random.pick([3, 50, 4_000]), all.length >> 5)
    const next = random.below(3) === 0 ? all.length : Math.min(all.length, at + 1 + random.below(step))
    if (!socket.writableEnded && socket.writable) socket.write(all.subarray(at, next))
    at = next
    if (random.below(40) === 0 && all.length - at > 400) at = all.length
    await inTurn(random)
  }
  if (readsLate) socket.resume()
  const way = random.below(8)
  const say = (what: string): void =>
    trace(
      'peer',
      sequence,
      `${index} of ${listener} ${what}, way ${way}, ended ${ended}, failed ${failed}, got ${socket.bytesRead}, port ${socket.localPort}`,
    )
  say(`has sent ${all.length}${never ? ', reads nothing' : readsLate ? ', reads late' : ''}`)
  // libuv resets no socket whose FIN is still to be sent.
  if (way < 4 && (socket.writableLength === 0 || (await flushed(socket)))) socket.end()
  else if (way === 4) socket.resetAndDestroy()
  // An app that has paused for good does not see a FIN.
  else if (way === 5 && (listener === 'pool' || listener === 'http' || listener === 'inline')) socket.destroy()
  // Others wait for the server.
  last = performance.now()
  const start = last
  while (!socket.destroyed && !(ended && way < 4)) {
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 10))])
    const now = performance.now()
    if (ended && !socket.writableEnded && socket.writableLength === 0) socket.end()
    if (now - last > mostIdleMs || now - start > 2_000) break
  }
  const toTheEnd = ended && !failed && way !== 4 && way !== 5
  if (socket.writableLength === 0 && socket.writableEnded && !socket.writableFinished)
    await new Promise((resolve) => socket.once('finish', resolve).once('close', resolve))
  say('leaves')
  socket.resetAndDestroy()
  await closed
  const text = chunks.join('')
  return { ...check(text, { sequence, index, listener }), toTheEnd, text: text.slice(0, 300) }
}

/** Whether the kernel takes all that was written, soon. */
async function flushed(socket: net.Socket): Promise<boolean> {
  await Promise.race([once(socket, 'drain').catch(() => {}), new Promise((resolve) => setTimeout(resolve, mostIdleMs))])
  return socket.writableLength === 0
}

function frames(sequence: number, letter: string, random: Random): Buffer[] {
  return Array.from({ length: random.below(8) }, (_, a) =>
    Buffer.from(
      record(
        letter,
        sequence,
        { kind: kind.frame, a, b: 0, last: true },
        random.pick([0, 3, 30, 200, random.below(30) === 0 ? 70_000 : 60]),
      ),
    ),
  )
}

function requests(sequence: number, index: number, letter: string, random: Random): Buffer[] {
  return Array.from({ length: random.below(6) }, (_, number) => {
    const body =
      random.below(3) === 0
        ? record(letter, sequence, { kind: kind.frame, a: number, b: 0, last: true }, random.pick([3, 200, 40_000]))
        : ''
    const head = `${body ? 'POST' : 'GET'} /http/${sequence}/${index}/${number} HTTP/1.1\r\nHost: a\r\n`
    if (body === '') return Buffer.from(`${head}\r\n`)
    if (random.below(2) === 0) return Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n${body}`)
    return Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`)
  })
}

function messages(sequence: number, index: number, letter: string, random: Random): Buffer[] {
  const all: Buffer[] = [Buffer.from(handshake({}, `GET /ws/${sequence}/${index}/0 HTTP/1.1`))]
  for (let a = random.below(8); a > 0; a--) {
    const text = record(letter, sequence, { kind: kind.frame, a, b: 0, last: true }, random.pick([0, 100, 200, 3_000]))
    const way = random.below(8)
    if (way === 0) all.push(webSocketFrame(1, text.slice(0, 5), { fin: false }), webSocketFrame(0, text.slice(5)))
    else if (way === 1) all.push(webSocketFrame(9, letter))
    else if (way === 2) all.push(webSocketFrame(10, letter))
    else if (way === 3 && a === 1) all.push(webSocketFrame(8, Buffer.from([3, 0xe8])))
    else all.push(webSocketFrame(1 + random.below(2), text))
  }
  return all
}

function check(
  text: string,
  { sequence, index, listener }: Pick<Visit, 'sequence' | 'index' | 'listener'>,
): Pick<Seen, 'wrong' | 'own' | 'isTorn' | 'publications'> {
  const isLoose = listener === 'wild' || listener === 'wildReactor'
  const reader = new RecordReader({ sequence, index, inOrder: listener !== 'unordered', loose: isLoose })
  const { publications } = reader
  if (listener === 'http') return { wrong: checkResponses(text, reader), own: 0, isTorn: false, publications }
  if (listener === 'ws') return { wrong: checkMessages(text, reader), own: 0, isTorn: false, publications }
  reader.push(text)
  const isTorn = !isLoose && !reader.isWhole
  return { wrong: reader.wrong, own: reader.counts[kind.ordered]! + reader.counts[kind.loose]!, isTorn, publications }
}

function checkResponses(text: string, reader: RecordReader): string | undefined {
  let before = -1
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\r\n\r\n', at)
    if (end < 0)
      return /^(HTTP\/1\.1 \d|HTTP\/1\.?$|H?T?T?P?\/?1?)/.test(text.slice(at))
        ? undefined
        : `no head: ${JSON.stringify(text.slice(at, at + 200))}`
    const head = text.slice(at, end + 2)
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? 0)
    if (status === 0) return `no status line: ${JSON.stringify(head.slice(0, 200))}`
    at = end + 4
    const number = /\r\nx-number: (\d+)\r\n/.exec(head)?.[1]
    if (number !== undefined) {
      if (Number(number) <= before) return `response ${number} after ${before}`
      before = Number(number)
    }
    if (status < 200 || status === 204 || status === 304) continue
    let body = ''
    const length = /\r\ncontent-length: (\d+)\r\n/i.exec(head)?.[1]
    if (length !== undefined) {
      body = text.slice(at, at + Number(length))
      at += Number(length)
    } else if (/\r\ntransfer-encoding: chunked\r\n/i.test(head)) {
      for (;;) {
        const line = /^([0-9a-f]{1,8})\r\n/.exec(text.slice(at, at + 12))
        if (!line) {
          if (text.length - at < 12) return undefined
          return `no chunk: ${JSON.stringify(text.slice(at, at + 100))}`
        }
        const size = Number.parseInt(line[1]!, 16)
        body += text.slice(at + line[0].length, at + line[0].length + size)
        at += line[0].length + size + 2
        if (size === 0) break
      }
    } else return `a response without a length: ${JSON.stringify(head)}`
    if (number !== undefined && status !== 500) reader.push(body)
    if (reader.wrong) return reader.wrong
  }
  return undefined
}

function checkMessages(text: string, reader: RecordReader): string | undefined {
  if (text === '') return undefined
  const end = text.indexOf('\r\n\r\n')
  if (end < 0 || !text.startsWith('HTTP/1.1 101 '))
    return /^HTTP\/1\.1 (403|101|4|5)/.test(text) ? undefined : `no handshake: ${text.slice(0, 200)}`
  const bytes = Buffer.from(text.slice(end + 4), 'latin1')
  for (let at = 0; at + 2 <= bytes.length; ) {
    const op = bytes[at]! & 15
    if ((bytes[at]! & 0xf0) !== 0x80 || ![1, 2, 8, 9, 10].includes(op)) return `a frame that begins with ${bytes[at]}`
    let length = bytes[at + 1]!
    at += 2
    if (length === 126) {
      if (at + 2 > bytes.length) break
      length = bytes.readUInt16BE(at)
      at += 2
    } else if (length === 127) {
      if (at + 8 > bytes.length) break
      length = Number(bytes.readBigUInt64BE(at))
      at += 8
    }
    if (at + length > bytes.length) break
    if (op < 8) {
      reader.push(bytes.toString('latin1', at, at + length))
      if (!reader.isWhole && !reader.wrong) return 'a message that is no record'
    }
    if (reader.wrong) return reader.wrong
    at += length
  }
  return undefined
}
