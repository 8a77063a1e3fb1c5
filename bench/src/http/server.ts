// One HTTP server of the comparison, in a process of its own: `node server.js NAME` prints its port and serves until its stdin ends.
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { httpApp, LightResponse } from '@multireactor/http'
import { Reactor } from '@multireactor/reactor'
import { freePort } from '../free-port.js'

const greeting = 'Hello, World!'

async function ours(app: ReturnType<typeof httpApp>): Promise<number> {
  return (await new Reactor().listen({ port: 0, host: '127.0.0.1' }, app)).port
}

interface Uws {
  App(): {
    get(
      path: string,
      handler: (res: { writeHeader(name: string, value: string): unknown; end(body: string): void }) => void,
    ): { listen(host: string, port: number, started: (socket: unknown) => void): void }
  }
}

const servers: Record<string, () => Promise<number>> = {
  node: () =>
    new Promise((resolve) => {
      const server = createServer((_req, res) => res.end(greeting)).listen(0, '127.0.0.1', () => {
        resolve((server.address() as AddressInfo).port)
      })
    }),
  uws: async () => {
    const free = await freePort()
    return new Promise((resolve) => {
      const uws = createRequire(import.meta.url)('@rjweb/uws') as Uws
      uws
        .App()
        .get('/*', (res) => res.end(greeting))
        // It does not tell which port it got.
        .listen('127.0.0.1', free, () => resolve(free))
    })
  },
  request: () => ours(httpApp({ request: (_req, res) => res.end(greeting) })),
  fetch: () => ours(httpApp({ fetch: (() => new LightResponse(greeting)) as never })),
  'fetch-node': () => ours(httpApp({ fetch: () => new Response(greeting) })),
}

const start = servers[process.argv[2] ?? '']
if (!start) throw new Error(`no server of the name ${process.argv[2]}: ${Object.keys(servers).join(', ')}`)
console.log(await start())
process.stdin.resume().on('end', () => process.exit(0))
