import { readFileSync } from 'node:fs'
import { serve, type Server } from '@multireactor/core'
import { expect } from 'chai'
import { app } from './app.js'
import { type End, HalfClosing, type HalfClosingClient, plainEnds, tlsEnds } from './half_close.js'

const pem = (name: string): Buffer => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))

/** Servers by the owner of a connection's bytes: natively framed ones, streams, TLS of the listener and TLS of the server itself. */
export const kinds = [
  { name: 'attach', module: 'bound-existing', secure: false, listens: false },
  { name: 'attach behind a TLS listener', module: 'bound-existing', secure: true, listens: true },
  { name: 'an attached https server', module: 'bound-https', secure: true, listens: false },
  { name: 'httpApp', module: 'bound-app', secure: false, listens: false },
  { name: 'httpApp behind a TLS listener', module: 'bound-app', secure: true, listens: true },
  { name: 'lines behind a TLS listener', module: 'bound-lines', secure: true, listens: true },
]
export type Kind = (typeof kinds)[number]

export const endsOf = ({ secure }: Kind): readonly End[] => (secure ? tlsEnds : plainEnds)

const large = 'x'.repeat(1 << 20)

function request(kind: Kind, size: string): string {
  return kind.module === 'bound-lines' ? `${size}\n` : `GET /${size} HTTP/1.1\r\nHost: a\r\n\r\n`
}

/** Undefined for a whole answer of that size; otherwise the received bytes. */
function wrong(kind: Kind, size: string, answer: string): string | undefined {
  const body = kind.module === 'bound-lines' ? answer : answer.replace(/^HTTP\/1\.1 200 .*?\r\n\r\n/s, '')
  const isWhole = size === 'large' ? body.trimEnd() === large : /^\d+(, and this is the last)?\n?$/.test(body)
  return isWhole ? undefined : `${answer.length} bytes: ${answer.slice(0, 200)}`
}

/** One try: which size is asked for, and how the client ends. */
export type Try = readonly [size: 'small' | 'large', end: End]

/**
 * Each try is a client that sends a request, the end of its own bytes right behind it, and reads up to the server's end. Tells which have not got
 * a whole answer. `reloads`: the clients are there when the thread is to leave; a third asks at once, the rest when the thread's answers
 * say that it leaves or when the next thread answers.
 */
export async function halfClose(kind: Kind, tries: readonly Try[], reloads: boolean): Promise<string[]> {
  const listen = { port: 0, host: '127.0.0.1', ...(kind.listens ? { tls: { cert: pem('first'), key: pem('first-key') } } : {}) }
  const server = await serve({ app: app(kind.module), listen, reactors: 1 })
  const clients = await HalfClosing.start()
  const failures: string[] = []
  const { port } = server.listeners[0]!
  let made = 0
  const connect = (): Promise<HalfClosingClient> => {
    made++
    return clients.connect(port, kind.secure)
  }
  const run = async (client: HalfClosingClient, [size, end]: Try): Promise<string> => {
    const answer = await client.askAndEnd(request(kind, size), end).then(String, String)
    const failure = wrong(kind, size, answer)
    if (failure !== undefined) failures.push(`${size}, ${end}: ${failure}`)
    return answer
  }
  try {
    if (!reloads) {
      const rest = [...tries]
      const one = async (): Promise<void> => {
        for (let next = rest.pop(); next; next = rest.pop()) await run(await connect(), next)
      }
      await Promise.all(Array.from({ length: 8 }, one))
    } else {
      await reload(server, tries, kind, connect, run)
    }
    const closed = () => Object.entries(server.stats().connections.closed).filter(([, count]) => count !== 0)
    while (closed().reduce((sum, [, count]) => sum + count, 0) < made) await new Promise(setImmediate)
    // An existing server destroys a connection after its last answer.
    expect(closed().filter(([reason]) => reason !== 'end' && reason !== 'destroyed')).to.deep.equal([])
    return failures
  } finally {
    await clients.close()
    await server.close({ timeoutMs: 500 })
  }
}

async function reload(
  server: Server,
  tries: readonly Try[],
  kind: Kind,
  connect: () => Promise<HalfClosingClient>,
  run: (client: HalfClosingClient, one: Try) => Promise<string>,
): Promise<void> {
  const signs = (answer: string): string => `${/connection: close|the last/i.test(answer)} ${/\d+(?=\D*$)/.exec(answer)}`
  const probe = async (): Promise<string> => signs(await run(await connect(), ['small', endsOf(kind)[0]!]))
  const first = await probe()
  const ready = await Promise.all(
    tries.map(async (one) => {
      const client = await connect()
      await client.ask(request(kind, 'small'))
      return { client, one }
    }),
  )
  const reloaded = server.reload({ timeoutMs: 100_000 })
  const atOnce = ready.filter((_, i) => i % 3 === 0).map(({ client, one }) => run(client, one))
  while ((await probe()) === first);
  await Promise.all(atOnce)
  await Promise.all(ready.filter((_, i) => i % 3 !== 0).map(({ client, one }) => run(client, one)))
  await reloaded
}
