import { spawn } from 'node:child_process'
import { once, setMaxListeners } from 'node:events'
import net from 'node:net'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { Example } from '../support/example.js'
import { importExample } from '../support/example_module.js'

const folder = fileURLToPath(new URL('../../../examples/rpc/', import.meta.url))

/** The client of the example, as far as the tests use it. */
interface RpcClient {
  call(method: string, params: unknown, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<unknown>
  close(): void
}
interface RpcModule {
  RpcClient: { connect(port: number, host?: string, options?: { timeoutMs?: number; mostPending?: number }): Promise<RpcClient> }
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: { code?: string; message: string }) => error.code ?? error.message,
  )

describe('the example rpc', function () {
  this.timeout(120_000)
  let rpc: RpcModule
  const clients: RpcClient[] = []

  before(async () => {
    rpc = (await importExample('rpc/client.ts')) as RpcModule
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close()
    await Example.killAll()
  })

  async function started(environment: Record<string, string> = {}): Promise<{ example: Example; port: number }> {
    Example.environment = environment
    const example = new Example('rpc')
    const [port] = await example.ports()
    return { example, port: port! }
  }
  async function connected(port: number, options = {}): Promise<RpcClient> {
    const client = await rpc.RpcClient.connect(port, '127.0.0.1', { timeoutMs: 30_000, ...options })
    clients.push(client)
    return client
  }

  it('answers 50 calls at once, each with its own answer, out of order', async () => {
    const { example, port } = await started()
    const client = await connected(port)
    const order: number[] = []
    const below = (i: number): number => 400_000 - i * 8_000
    const results = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const call = i % 5 === 4 ? client.call('add', { a: i, b: 1000 }) : client.call('primes', { below: below(i) })
        const result = await call
        order.push(i)
        return result
      }),
    )
    for (const [i, result] of results.entries()) {
      if (i % 5 === 4) expect(result).to.equal(i + 1000)
      else expect(result).to.deep.equal({ count: primesBelow(below(i)) })
    }
    // A light one that was called after a heavy one is answered before it.
    expect(order).to.have.length(50)
    expect(order.indexOf(4)).to.be.below(order.indexOf(0))
    expect(order).to.not.deep.equal([...order].sort((a, b) => a - b))
    expect(await client.call('whoami', {})).to.deep.equal({ address: '::ffff:127.0.0.1' })
    expect(await example.stop()).to.equal(0)
    expect(example.errors).to.equal('')
  })

  it('says what is wrong with a call, and goes on', async () => {
    const { port } = await started({ REACTORS: '1', POOL: '1' })
    const client = await connected(port)
    expect(await codeOf(client.call('add', { a: 1 }))).to.equal('bad-request')
    expect(await codeOf(client.call('primes', { below: 'many' }))).to.equal('bad-request')
    expect(await codeOf(client.call('primes', null))).to.equal('bad-request')
    expect(await codeOf(client.call('toString', {}))).to.equal('unknown-method')
    expect(await client.call('digest', { text: 'x', rounds: 1 })).to.deep.equal({
      hex: '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881',
    })
  })

  it('cancels for a timeout and for a signal, also what still waits for a worker', async () => {
    const { example, port } = await started({ REACTORS: '1', POOL: '1' })
    const client = await connected(port)
    const cancelled = (count: number) => example.until((output) => output.split('primes was cancelled').length - 1 === count)
    expect(await codeOf(client.call('primes', { below: 1e9 }, { timeoutMs: 200 }))).to.equal('timeout')
    await cancelled(1)
    const abort = new AbortController()
    setMaxListeners(0, abort.signal)
    // More than one worker runs at once.
    const many = Array.from({ length: 40 }, () => codeOf(client.call('primes', { below: 1e9 }, { signal: abort.signal })))
    // It is under way when something that was called later has come back.
    await client.call('add', { a: 1, b: 2 })
    abort.abort(new Error('not needed'))
    expect(new Set(await Promise.all(many))).to.deep.equal(new Set(['not needed']))
    await cancelled(41)
    // The worker is free again.
    expect(await client.call('primes', { below: 10 })).to.deep.equal({ count: 4 })
    expect(await codeOf(client.call('primes', { below: 1e9 }, { signal: AbortSignal.abort(new Error('before')) }))).to.equal(
      'before',
    )
  })

  it('has a time limit of its own, and hears of a caller who has gone', async () => {
    const { example, port } = await started({ REACTORS: '1', POOL: '1', CALL_TIMEOUT_MS: '300' })
    const client = await connected(port)
    expect(await codeOf(client.call('primes', { below: 1e9 }))).to.equal('timeout')
    expect(await client.call('primes', { below: 10 })).to.deep.equal({ count: 4 })
    expect(await example.stop()).to.equal(0)
    const lost = codeOf(client.call('primes', { below: 10 }))
    expect(await lost).to.equal('connection-lost')
  })

  it('refuses more pending calls than the client may have, and frames that are none', async () => {
    const { port } = await started({ REACTORS: '1', POOL: '1' })
    const client = await connected(port, { mostPending: 2 })
    const first = client.call('primes', { below: 1000 })
    const second = client.call('primes', { below: 1000 })
    expect(await codeOf(client.call('add', { a: 1, b: 2 }))).to.equal('overloaded')
    await Promise.all([first, second])

    const stranger = await Client.connect(port)
    stranger.write(Buffer.from('\0\0\0\x05hello'))
    await stranger.untilClosed()
    expect(JSON.parse(stranger.received.subarray(4).toString())).to.deep.equal({
      id: 0,
      error: { code: 'bad-request', message: 'the message is no JSON' },
    })
    for (const none of ['null', '[]', '7', '{"id":1}', '{"id":1.5,"method":"add"}', '{"id":1,"method":null}', '{"cancel":"1"}']) {
      const other = await Client.connect(port)
      other.write(Buffer.concat([Buffer.from([0, 0, 0, none.length]), Buffer.from(none)]))
      await other.untilClosed()
      expect(other.received.toString(), none).to.include('"bad-request"')
    }
    for (const params of ['null', '[]', '7', '"ab"', '{"a":{},"b":1}']) {
      const call = `{"id":1,"method":"add","params":${params}}`
      const other = await Client.connect(port)
      other.write(Buffer.concat([Buffer.from([0, 0, 0, call.length]), Buffer.from(call)]))
      await other.until(({ received }) => received.toString().endsWith('}}'))
      expect(other.received.toString(), params).to.include('"id":1').and.include('"bad-request"')
      other.destroy()
    }
    const huge = await Client.connect(port)
    huge.write(Buffer.from('\x7f\xff\xff\xff', 'latin1'))
    await huge.untilClosed()
    expect(huge.received).to.have.length(0)
  })

  it('has a client that takes an answer that is none for an error of its call, and goes on', async () => {
    const answers: { [method: string]: (id: number) => string } = {
      broken: (id) => `{"id":${id},"result":`,
      nobody: () => 'hello',
      nothing: () => 'null',
      list: () => '[]',
      stranger: () => '{"id":"x","result":1}',
      wordless: (id) => `{"id":${id},"error":null}`,
      good: (id) => `{"id":${id},"result":7}`,
    }
    const server = net.createServer((socket) => {
      socket.on('data', (data) => {
        for (let at = 0; at < data.length; at += 4 + data.readUInt32BE(at)) {
          const message = JSON.parse(data.toString('utf8', at + 4, at + 4 + data.readUInt32BE(at))) as {
            id: number
            method?: string
          }
          if (message.method === undefined) continue
          const body = Buffer.from(answers[message.method]!(message.id))
          const header = Buffer.alloc(4)
          header.writeUInt32BE(body.length)
          socket.write(Buffer.concat([header, body]))
        }
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = await connected((server.address() as net.AddressInfo).port)
    // These answers name no call: their calls run out of time.
    const unanswered = ['nobody', 'nothing', 'list', 'stranger'].map((method) =>
      codeOf(client.call(method, {}, { timeoutMs: 500 })),
    )
    const rejected = ['broken', 'wordless'].map((method) => codeOf(client.call(method, {})))
    expect(await client.call('good', {})).to.equal(7)
    expect(await Promise.all(rejected)).to.deep.equal(['bad-response', 'bad-response'])
    expect(await Promise.all(unanswered)).to.deep.equal(['timeout', 'timeout', 'timeout', 'timeout'])
    expect(await codeOf(client.call('good', { value: 1n }))).to.equal('bad-request')
    expect(await codeOf(client.call('good', { value: 'x'.repeat(2 ** 20) }))).to.equal('bad-request')
    expect(await client.call('good', {})).to.equal(7)
    client.close()
    server.close()
    await once(server, 'close')
  })

  it('has a client that notices a server that goes away', async () => {
    const server = net.createServer((socket) => void socket.once('data', () => socket.destroy())).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = await connected((server.address() as net.AddressInfo).port)
    expect(await codeOf(client.call('add', { a: 1, b: 2 }))).to.equal('connection-lost')
    expect(await codeOf(client.call('add', { a: 1, b: 2 }))).to.equal('connection-lost')
    server.close()
    await once(server, 'close')
  })

  it('has a demo that runs', async () => {
    const { port } = await started()
    const demo = spawn(process.execPath, ['--import', 'tsx', 'demo.ts', String(port)], { cwd: folder })
    let output = ''
    for (const stream of [demo.stdout, demo.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    expect(await once(demo, 'close')).to.deep.equal([0, null])
    const [answers, ...errors] = output.trimEnd().split('\n')
    expect(answers).to.match(/^50 answers, the first of them: /)
    expect(errors).to.deep.equal([
      'primes below a thousand million: timeout',
      'add with one number: bad-request',
      'substract: unknown-method',
    ])
  })
})

function primesBelow(limit: number): number {
  const composite = new Uint8Array(limit)
  let count = 0
  for (let n = 2; n < limit; n++) {
    if (composite[n]) continue
    count++
    for (let multiple = n * n; multiple < limit; multiple += n) composite[multiple] = 1
  }
  return count
}
