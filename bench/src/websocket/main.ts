// CPU per message of WebSocket echo servers, side by side: `npm run websocket -w bench -- [--messages 40000] [--rounds 5]
// [--connections 50]`. Each connection has one message under way. Rounds go round the servers, so that other load of the machine
// meets all of them; the median of each counts.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { parseArgs } from 'node:util'
import { compare, type Running, startNamed } from '../side-by-side.js'

const names = ['ws', 'uws', 'multireactor']

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '40000' },
    rounds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '50' },
    only: { type: 'string' },
  },
})
const chosen = names.filter((name) => !values.only || values.only.split(',').includes(name))
const handshake =
  'GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
const mask = [0x21, 0x43, 0x65, 0x87]

interface Connected extends Running {
  sockets: Socket[]
}

async function begin(name: string): Promise<Connected> {
  const server = await startNamed(new URL('./server.js', import.meta.url), name)
  const sockets: Socket[] = []
  for (let i = 0; i < Number(values.connections); i++) {
    const socket = connect({ port: server.port, host: '127.0.0.1', noDelay: true })
    socket.write(handshake)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    if (!answer.toString('latin1').startsWith('HTTP/1.1 101 ')) throw new Error(`${name} answers ${answer}`)
    sockets.push(socket)
  }
  return { ...server, sockets }
}

function header(opcode: number, length: number, masked: boolean): Buffer {
  const bit = masked ? 0x80 : 0
  const key = masked ? mask : []
  if (length < 126) return Buffer.from([0x80 | opcode, bit | length, ...key])
  return Buffer.from([0x80 | opcode, bit | 126, length >> 8, length & 255, ...key])
}

/** Sends so many messages over all sockets, and resolves when each has come back as it was. */
async function exchange(sockets: Socket[], messages: number, opcode: number, payload: Buffer): Promise<void> {
  const masked = payload.map((byte, i) => byte ^ mask[i % 4]!)
  const request = Buffer.concat([header(opcode, payload.length, true), masked])
  const reply = Buffer.concat([header(opcode, payload.length, false), payload])
  const share = Math.ceil(messages / sockets.length)
  await Promise.all(
    sockets.map(async (socket) => {
      let left = share
      let kept: Buffer = Buffer.alloc(0)
      socket.write(request)
      while (left > 0) {
        const [chunk] = (await once(socket, 'data')) as [Buffer]
        kept = kept.length === 0 ? chunk : Buffer.concat([kept, chunk])
        if (kept.length < reply.length) continue
        if (!kept.equals(reply)) throw new Error(`${kept.length} bytes came back that are not the message`)
        kept = Buffer.alloc(0)
        if (--left > 0) socket.write(request)
      }
    }),
  )
}

const running = new Map<string, Connected>()
try {
  for (const name of chosen) running.set(name, await begin(name))
  for (const [title, opcode, payload, part] of [
    ['text, 16 bytes', 1, Buffer.from('sixteen letters!'), 1],
    ['text that is not ASCII, 1,000 bytes', 1, Buffer.from('ü'.repeat(500)), 1],
    ['binary, 30,000 bytes', 2, Buffer.alloc(30_000, 0x5a), 8],
  ] as const) {
    const messages = Number(values.messages) / part
    await compare(
      `${title}, ${values.connections} connections`,
      'message',
      Number(values.rounds),
      running,
      async ({ sockets }) => {
        await exchange(sockets, messages, opcode, payload)
        return messages
      },
    )
  }
} finally {
  for (const { child, sockets } of running.values()) {
    for (const socket of sockets) socket.destroy()
    child.stdin!.end()
  }
}
