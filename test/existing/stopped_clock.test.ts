import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import tls from 'node:tls'
import { attach, type ExistingServer, Reactor } from '@multireactor/reactor'
import { census, expectNothingLeft } from '../support/leaks.js'

const pem = (name: string): Buffer => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))

const names = ['setImmediate', 'setInterval', 'setTimeout'] as const

/** As tests of apps do: what is asked of the globals meanwhile never happens. */
async function whileTheClockStands(work: () => Promise<void>): Promise<void> {
  const own = names.map((name) => globalThis[name])
  const never = () => ({ ref() {}, unref() {} })
  for (const name of names) Object.assign(globalThis, { [name]: never })
  try {
    await work()
  } finally {
    names.forEach((name, i) => void Object.assign(globalThis, { [name]: own[i] }))
  }
}

describe('while an app has replaced the timers', function () {
  this.timeout(20_000)
  let before: ReturnType<typeof census>
  let reactor: Reactor
  beforeEach(() => {
    before = census()
    reactor = new Reactor()
  })
  afterEach(async () => {
    await reactor[Symbol.asyncDispose]()
    // A reactor that is closed from within its turn ends with the turn.
    await new Promise((resolve) => setImmediate(resolve))
    expectNothingLeft(before)
  })
  const portOf = async (server: ExistingServer): Promise<number> => {
    await reactor.listen({ port: 0, host: '127.0.0.1' }, attach(server))
    return (server.address() as AddressInfo).port
  }

  it('a TLS server hears of the end of a peer, and answers it', async () => {
    const server = tls.createServer({ cert: pem('first'), key: pem('first-key') }, (socket) => socket.resume())
    const port = await portOf(server)
    const client = tls.connect({ port, host: '127.0.0.1', ca: pem('ca'), servername: 'first.example' })
    await once(client, 'secureConnect')
    client.resume()
    await whileTheClockStands(async () => {
      client.end('last')
      await once(client, 'close')
    })
  })

  it('a reactor that closes ends the connections that become idle meanwhile', async () => {
    let response!: http.ServerResponse
    const server = http.createServer((_request, answer) => {
      response = answer
      answer.write('first')
    })
    server.keepAliveTimeout = 0
    await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      attach(server, { drain: () => process.nextTick(() => response.end('last')) }),
    )
    const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await once(client, 'data')
    client.resume()
    await whileTheClockStands(async () => {
      await Promise.all([reactor.close({ timeoutMs: 60_000 }), once(client, 'close')])
    })
  })
})
