// The cost of an existing HTTP server behind `attach`, beside the same server on a port of its own: CPU of the server's process for each
// request. Both are asked in turns, so that other load of the machine hits both.
//   npm run duplex -w bench -- [rounds] [seconds]
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { fileURLToPath } from 'node:url'
import { attach, Reactor } from '@multireactor/reactor'
import { median } from './statistics.js'

const connections = 64
const request = Buffer.from('GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n')
const kinds = ['node:http', 'attach'] as const
type Kind = (typeof kinds)[number]

// ---------------------------------------------------------------- the servers

async function serve(kind: Kind): Promise<void> {
  const server = http.createServer((_request, response) => {
    response.setHeader('content-type', 'text/plain')
    response.end('Hello, world!')
  })
  let port: number
  if (kind === 'attach') {
    port = (await new Reactor().listen({ port: 0, host: '127.0.0.1' }, attach(server))).port
  } else {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    ;({ port } = server.address() as net.AddressInfo)
  }
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send!(user + system)
  })
  process.on('disconnect', () => process.exit())
  process.send!(port)
}

// ---------------------------------------------------------------- the load

/** Each connection asks again as soon as it has its answer. */
class Load {
  answers = 0
  readonly #sockets: net.Socket[] = []

  constructor(port: number) {
    for (let i = 0; i < connections; i++) {
      const socket = net.connect(port, '127.0.0.1').setNoDelay(true)
      socket.on('data', (bytes) => {
        if (!bytes.toString('latin1').endsWith('Hello, world!')) return // the rest follows
        this.answers++
        socket.write(request)
      })
      socket.write(request)
      this.#sockets.push(socket)
    }
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

async function cpuOf(child: ChildProcess): Promise<number> {
  const answer = once(child, 'message') as Promise<[number]>
  child.send('cpu')
  return (await answer)[0]
}

async function measure(child: ChildProcess, port: number, seconds: number): Promise<number> {
  const load = new Load(port)
  const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))
  await wait(300)
  const [cpu, answers] = [await cpuOf(child), load.answers]
  await wait(seconds * 1000)
  const each = ((await cpuOf(child)) - cpu) / (load.answers - answers)
  load.stop()
  return each
}

async function compare(rounds: number, seconds: number): Promise<void> {
  const servers = await Promise.all(
    kinds.map(async (kind) => {
      const child = fork(fileURLToPath(import.meta.url), ['--serve', kind])
      const [port] = (await once(child, 'message')) as [number]
      return { kind, child, port, each: [] as number[] }
    }),
  )
  for (const { child, port } of servers) await measure(child, port, 1) // warm
  const ratios: number[] = []
  for (let round = 0; round < rounds; round++) {
    for (const server of servers) server.each.push(await measure(server.child, server.port, seconds))
    ratios.push(servers[1]!.each.at(-1)! / servers[0]!.each.at(-1)!)
  }
  for (const { kind, each } of servers) console.log(`${kind.padEnd(10)} ${median(each).toFixed(2)} µs of CPU per request`)
  console.log(
    `ratio      ${median(ratios).toFixed(3)} (median of ${rounds} rounds: ${ratios.map((ratio) => ratio.toFixed(2)).join(', ')})`,
  )
  for (const { child } of servers) child.disconnect()
}

const [first, second] = process.argv.slice(2)
if (first === '--serve') void serve(second as Kind)
else void compare(Number(first ?? 7), Number(second ?? 2))
