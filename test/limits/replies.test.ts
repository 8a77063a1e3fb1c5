import { once } from 'node:events'
import net from 'node:net'
import { type Server, type ServerStats, serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { statsOnce } from '../support/stats.js'

const kibibyte = 1 << 10
const mebibyte = 1 << 20
const outMax = 16 * mebibyte

describe('replies of parse that have no room', function () {
  this.timeout(60_000) // a hundred mebibytes go through, on machines that are busy with other things
  let server: Server
  let before: ReturnType<typeof census>
  const sockets: net.Socket[] = []
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    await server.close({ timeoutMs: 500 })
    expectNothingLeft(before)
  })

  async function start(name: string, pool: number): Promise<void> {
    server = await serve({ app: app(name), listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool })
  }
  /** It reads nothing. */
  async function stalled(): Promise<net.Socket> {
    const socket = net.connect({ port: server.listeners[0]!.port, host: '127.0.0.1' })
    socket.pause()
    sockets.push(socket)
    await once(socket, 'connect')
    return socket
  }
  const until = (done: (stats: ServerStats) => boolean) => statsOnce(server, done)
  function questions(count: number, bytes: number): string {
    return Array.from({ length: count }, (_, i) => `${bytes} ${i}\n`).join('')
  }
  /** Reads all replies, and expects them in their order. */
  async function readAll(socket: net.Socket, count: number, bytes: number): Promise<void> {
    let received = 0
    socket.on('data', (chunk: Buffer) => {
      for (let i = Math.ceil(received / bytes); i * bytes < received + chunk.length; i++) {
        const head = `${i} `
        const from = i * bytes - received
        const seen = chunk.toString('latin1', from, from + head.length)
        expect(head.startsWith(seen), `reply ${i} begins with ${seen}`).to.equal(true)
      }
      received += chunk.length
    })
    socket.resume()
    while (received < count * bytes) await once(socket, 'data')
    expect(received).to.equal(count * bytes)
  }

  for (const [name, pool] of [
    ['large-replies', 2],
    ['large-replies-inline', 0],
  ] as const) {
    it(`${name}: a peer that reads nothing is held at its room, and gets everything when it reads`, async () => {
      await start(name, pool)
      const socket = await stalled()
      const count = 100
      socket.write(questions(count, mebibyte))
      const reactor = (stats: ServerStats) => stats.reactors[0]!
      const answered = (stats: ServerStats) => reactor(stats).repliesWritten + reactor(stats).repliesHeld
      // All of them have been looked at, and those that ran have been answered.
      const idle = (stats: ServerStats) =>
        reactor(stats).framesSetAside !== 0 &&
        reactor(stats).framesRead === count &&
        stats.queue.frames === 0 &&
        stats.memory.messages === 0 &&
        answered(stats) + reactor(stats).framesSetAside >= count
      const { memory } = await until(idle)
      expect(memory.buffered + memory.messages).to.be.at.most(outMax + (Math.max(pool, 1) + 1) * mebibyte)
      expect(reactor(server.stats()).closed['slow-consumer']).to.equal(0)
      await readAll(socket, count, mebibyte)
    })
  }

  it('a peer that pipelines and reads gets every reply, in order', async () => {
    await start('large-replies', 2)
    const socket = await stalled()
    socket.write(questions(400, 64 * kibibyte))
    await readAll(socket, 400, 64 * kibibyte)
    const { reactors } = server.stats()
    expect(reactors[0]!.repliesWritten).to.equal(400)
  })

  it('where the reactor is at its bound, a frame that never settles does not keep those of others', async () => {
    const limits = { memory: 16 * mebibyte }
    server = await serve({ app: app('large-replies'), listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool: 2, limits })
    const greedy = await stalled()
    greedy.write(questions(40, 512 * kibibyte))
    await until(({ reactors, queue }) => reactors[0]!.framesSetAside !== 0 && queue.tasks === 0)
    const never = await stalled()
    never.write('never 0\n')
    const aside = await until(({ reactors }) => reactors[0]!.framesSubmitted === 41)
    expect(aside.reactors[0]!.buffered).to.be.at.least((4 * mebibyte) / 2)
    const polite = await stalled()
    polite.write(questions(3, kibibyte))
    await readAll(polite, 3, kibibyte)
  })

  it('who closes takes what was set aside along', async () => {
    await start('large-replies', 2)
    const socket = await stalled()
    socket.write(questions(100, mebibyte))
    await until(({ reactors }) => reactors[0]!.framesSetAside > 50)
    socket.destroy()
    const { reactors } = await until((stats) => stats.reactors[0]!.open === 0 && stats.memory.tasks === 0)
    expect(reactors[0]!.framesCancelled).to.be.at.least(1)
  })

  it('new code in every thread does not lose what was set aside', async () => {
    await start('large-replies', 2)
    const socket = await stalled()
    socket.write(questions(60, mebibyte))
    await until(({ reactors }) => reactors[0]!.framesSetAside > 10)
    await server.reload()
    await readAll(socket, 60, mebibyte)
  })
})
