import net from 'node:net'
import tls from 'node:tls'
import { parentPort, workerData } from 'node:worker_threads'
import { Random } from './random.js'
import { frame, handshake } from './websocket.js'

// Peers of every kind, one after the other in each of the places that a plan gives: the same seed gives the same peers.

export interface HostilePlan {
  seed: number
  /** By name of the listener; a string is a Unix path. */
  targets: Record<string, number | string>
  /** At a time, for each listener. */
  places: number
}

const { seed, targets, places } = workerData as HostilePlan
const post = (path: string, fields: string): string => `POST ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n\r\n`
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
const chunked = 'Transfer-Encoding: chunked'
const tiny = Buffer.from('1\r\nx\r\n'.repeat(8_000))
const bodyPaths = ['/', '/whole', '/unread', '/late']

type Wire = (random: Random) => {
  huge: string | Buffer
  small: string | Buffer
  chunks?: Buffer
  unfinished: string | Buffer
  topics?: Buffer
}

const lines: Wire = (random) => ({
  huge: 'L\n',
  small: `a${'y'.repeat(random.below(200))}\n`,
  unfinished: 'z'.repeat(1 + random.below(200_000)),
  topics: Buffer.from(
    Array.from({ length: 200 }, () => `${random.pick(['s', 's', 'p'])}${'t'.repeat(random.below(64))}\n`).join(''),
  ),
})
const http: Wire = (random) => ({
  huge: get('/large'),
  small: get(random.pick(['/', '/late'])),
  unfinished: `${get('/').slice(0, -2)}X-Y: ${'z'.repeat(random.below(8_000))}`,
  chunks: Buffer.concat([Buffer.from(post(random.pick(bodyPaths), chunked)), tiny, tiny]),
})
const webSocket: Wire = (random) => ({
  huge: frame(1, 'L'),
  small: frame(1, 'y'.repeat(random.below(200))),
  unfinished: frame(1, 'z'.repeat(10_000)).subarray(0, 9_000),
  chunks: Buffer.concat(Array.from({ length: 5_000 }, () => frame(0, 'x', { fin: false }))),
  topics: Buffer.concat(
    Array.from({ length: 200 }, () => frame(1, `${random.pick(['s', 's', 'p'])}${'t'.repeat(random.below(64))}`)),
  ),
})
const prefixed = (text: string): Buffer => {
  const bytes = Buffer.alloc(4 + text.length, text)
  bytes.writeUInt32BE(text.length)
  bytes.write(text, 4)
  return bytes
}
const wires: Record<string, Wire> = {
  lines,
  hooks: lines,
  unix: lines,
  custom: lines,
  'tls-lines': lines,
  raw: () => ({ huge: 'L', small: 'ay', unfinished: 'y', chunks: Buffer.alloc(50_000, 'y') }),
  prefixed: (random) => ({
    huge: prefixed('L'),
    small: prefixed(`a${'y'.repeat(random.below(200))}`),
    unfinished: prefixed('z'.repeat(100_000)).subarray(0, random.below(90_000) + 1),
    topics: Buffer.concat(
      Array.from({ length: 200 }, () => prefixed(`${random.pick(['s', 's', 'p'])}${'t'.repeat(random.below(64))}`)),
    ),
  }),
  http,
  fetch: (random) => ({ ...http(random), huge: get(random.pick(['/large', '/node'])) }),
  pool: http,
  existing: http,
  'tls-http': http,
  websocket: webSocket,
  resp: (random) => ({
    huge: '*1\r\n$4\r\nPING\r\n'.repeat(1_000),
    small: '*1\r\n$4\r\nPING\r\n',
    unfinished: `*${1 + random.below(1_000)}\r\n$5\r\nabc`,
    chunks: Buffer.from(`*50000\r\n${'$1\r\nx\r\n'.repeat(50_000)}`),
  }),
}

const kinds = ['slow', 'silent', 'dribbling', 'subscribing', 'huge', 'tiny', 'flood', 'reset'] as const
const counts: Record<string, number> = {}
let stopped = false
const open = new Set<net.Socket>()

function connect(name: string): net.Socket {
  const target = targets[name]!
  if (typeof target === 'string') return net.connect(target)
  const where = { port: target, host: '127.0.0.1' }
  return name.startsWith('tls-') ? tls.connect({ ...where, rejectUnauthorized: false }) : net.connect(where)
}

function peer(name: string, random: Random): void {
  if (stopped) return
  const kind = random.pick(kinds)
  counts[kind] = (counts[kind] ?? 0) + 1
  const { huge, small, chunks, unfinished, topics } = wires[name]!(random)
  const socket = connect(name)
  open.add(socket)
  let timer: NodeJS.Timeout | undefined
  const resets = kind === 'reset' && typeof targets[name] === 'number' && !name.startsWith('tls-')
  const life = setTimeout(() => (resets ? socket.resetAndDestroy() : socket.destroy()), 200 + random.below(4_000))
  socket.on('error', () => {})
  socket.on('close', () => {
    clearTimeout(life)
    clearInterval(timer)
    open.delete(socket)
    // A peer that is turned away comes again, but not at once.
    setTimeout(() => peer(name, random), 5 + random.below(50))
  })
  const every = (ms: number, what: () => void): void => {
    timer = setInterval(what, ms)
  }
  /** As long as the kernel takes more. */
  const pour = (bytes: string | Buffer, times: number): void => {
    let left = times
    const go = (): void => {
      while (left > 0 && !socket.destroyed) {
        left--
        if (!socket.write(bytes)) return void socket.once('drain', go)
      }
    }
    go()
  }
  const begin = (): void => {
    if (name === 'websocket' && kind !== 'silent') socket.write(handshake())
    switch (kind) {
      case 'silent':
        return void socket.resume()
      case 'slow':
        socket.pause()
        pour(huge, 16)
        return every(20, () => void socket.read(1_024))
      case 'huge':
      case 'reset':
        socket.pause()
        return pour(Buffer.concat(Array.from({ length: 64 }, () => Buffer.from(huge as string))), 16)
      case 'dribbling': {
        socket.resume()
        const bytes = Buffer.concat([Buffer.from(small as string), Buffer.from(unfinished as string)])
        let at = 0
        return every(2, () => void (at < bytes.length && socket.write(bytes.subarray(at, ++at))))
      }
      case 'subscribing':
        if (random.below(2) === 0) socket.pause()
        else socket.resume()
        return pour(topics ?? small, 200)
      case 'tiny':
        socket.resume()
        return pour(chunks ?? small, 20)
      case 'flood':
        socket.pause()
        pour(small, 2_000)
        return void socket.write(unfinished)
    }
  }
  socket.once(name.startsWith('tls-') ? 'secureConnect' : 'connect', begin)
}

for (const [index, name] of Object.keys(targets).entries()) {
  for (let i = 0; i < places; i++) peer(name, new Random(seed + index * 1_000 + i))
}

parentPort!.on('message', () => {
  stopped = true
  for (const socket of open) socket.destroy()
  parentPort!.postMessage(counts)
  parentPort!.close()
})
