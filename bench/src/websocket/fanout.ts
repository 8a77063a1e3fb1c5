// CPU for each delivery of one message to many WebSockets that inflate, side by side: `npm run fanout -w bench -- [--subscribers 1000]
// [--messages 20] [--rounds 5] [--bytes 1024]`. All servers have one thread, and no context from one message to the next. Rounds go
// round the servers; the median of each counts.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { parseArgs } from 'node:util'
import { constants, inflateRawSync } from 'node:zlib'
import { compare, type Running, startNamed } from '../side-by-side.js'
import { fanoutMessage } from './message.js'

const names = ['ws', 'uws', 'multireactor']

const { values } = parseArgs({
  options: {
    subscribers: { type: 'string', default: '1000' },
    messages: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '5' },
    bytes: { type: 'string', default: '1024' },
    only: { type: 'string' },
  },
})
const chosen = names.filter((name) => !values.only || values.only.split(',').includes(name))
const message = fanoutMessage(Number(values.bytes))
const messages = Number(values.messages)
const handshake =
  'GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n\r\n'
/** A text message of one letter, masked with nothing. */
const word = Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x70])

interface Fans extends Running {
  sockets: Socket[]
  /** Bytes of one message on the wire. */
  frameBytes: number
  /** Publishes once, and resolves when every subscriber has it. */
  publish(): Promise<void>
}

async function begin(name: string): Promise<Fans> {
  const server = await startNamed(new URL('./server.js', import.meta.url), `${name}-fanout`, values.bytes)
  const sockets: Socket[] = []
  const received: number[] = []
  let wanted = Number.MAX_SAFE_INTEGER
  let missing = 0
  let done = (): void => {}
  for (let i = 0; i < Number(values.subscribers); i++) {
    const socket = connect({ port: server.port, host: '127.0.0.1', noDelay: true })
    socket.write(handshake)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    const head = answer.toString('latin1')
    if (!head.startsWith('HTTP/1.1 101 ') || !/permessage-deflate/.test(head)) throw new Error(`${name} answers ${head}`)
    sockets.push(socket)
    received.push(0)
  }
  for (const [i, socket] of sockets.entries()) {
    socket.on('data', (chunk: Buffer) => {
      const before = received[i]!
      received[i] = before + chunk.length
      if (before < wanted && received[i]! >= wanted && --missing === 0) done()
    })
  }
  const [first] = sockets as [Socket]
  first.write(word)
  const [frame] = (await once(first, 'data')) as [Buffer]
  checkFrame(name, frame)
  /** Every subscriber has had so many bytes. */
  const until = (bytes: number): Promise<void> =>
    new Promise((resolve) => {
      wanted = bytes
      missing = received.filter((each) => each < wanted).length
      done = resolve
      if (missing === 0) resolve()
    })
  await until(frame.length)
  const publish = (): Promise<void> => {
    first.write(word)
    return until(wanted + frame.length)
  }
  return { ...server, sockets, frameBytes: frame.length, publish }
}

/** One compressed frame, with the message to publish. */
function checkFrame(name: string, frame: Buffer): void {
  const start = frame[1]! < 126 ? 2 : 4
  const length = start === 2 ? frame[1]! : frame.readUInt16BE(2)
  if (frame[0] !== 0xc1 || frame.length !== start + length) throw new Error(`${name} sends no compressed frame`)
  const payload = Buffer.concat([frame.subarray(start), Buffer.from([0, 0, 0xff, 0xff])])
  const text = inflateRawSync(payload, { finishFlush: constants.Z_SYNC_FLUSH }).toString()
  if (text !== message) throw new Error(`${name} publishes something else`)
}

const running = new Map<string, Fans>()
try {
  for (const name of chosen) running.set(name, await begin(name))
  for (const [name, { frameBytes }] of running) console.log(`${name}: ${frameBytes} bytes on the wire for ${message.length}`)
  await compare(
    `${message.length} bytes of JSON to ${values.subscribers} subscribers, compressed`,
    'delivery',
    Number(values.rounds),
    running,
    async ({ sockets, publish }) => {
      for (let i = 0; i < messages; i++) await publish()
      return messages * sockets.length
    },
  )
} finally {
  for (const { child, sockets } of running.values()) {
    for (const socket of sockets) socket.destroy()
    child.stdin!.end()
  }
}
