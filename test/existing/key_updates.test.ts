import { readFileSync } from 'node:fs'
import { type CloseReason, lines, type ListenTls, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { KeyUpdateClient } from '../support/key_updates.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const pem = (name: string): Buffer => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))
const own: ListenTls = { cert: pem('first'), key: pem('first-key') }

describe('a peer that asks for new keys (TLS 1.3 KeyUpdate)', () => {
  let before: ReturnType<typeof census>
  let reactor: Reactor
  let client: KeyUpdateClient
  const closed: CloseReason[] = []
  beforeEach(() => {
    before = census()
    reactor = new Reactor()
    closed.length = 0
  })
  afterEach(async () => {
    client.destroy()
    await reactor.close({ timeoutMs: 0 })
    await new Promise(setImmediate)
    expectNothingLeft(before)
  })

  const connect = async (options: object = {}): Promise<void> => {
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1', tls: own },
      {
        framing: lines(),
        message: (conn, line) => void conn.write(`${line.toString()}\n`),
        close: (_conn, reason) => void closed.push(reason),
        ...options,
      },
    )
    client = await KeyUpdateClient.connect(port, pem('ca'), 'first.example')
  }
  const untilClosed = async (): Promise<void> => {
    while (closed.length === 0) await new Promise(setImmediate)
  }

  it('gets them, and is answered with them, between its frames and before the next one', async () => {
    await connect()
    let text = ''
    for (let i = 0; i < 100; i++) {
      text += `line ${i}\n`
      client.send(client.updatesAnd(i % 10, `line ${i}\n`))
    }
    await client.until(text)
    expect([client.text, client.updates]).to.deep.equal([text, 450])
  })

  it('and says nothing else closes as tls-error', async () => {
    await connect()
    client.send(client.updatesAnd(0, 'before\n'))
    await client.until('before\n')
    client.send(client.updatesAnd(12_000))
    await untilClosed()
    await client.untilClosed()
    expect(closed).to.deep.equal(['tls-error'])
  })
})
