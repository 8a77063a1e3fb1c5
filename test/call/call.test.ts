import { type Server, serve, ServerHandle } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('server.call', () => {
  let server: Server
  let before: ReturnType<typeof census>
  beforeEach(async () => {
    before = census()
    server = await serve({ app: app('call'), listen: 0, reactors: 2, logger: silent })
  })
  afterEach(async () => {
    await server.close({ timeoutMs: 1_000 }).catch(() => {})
    expectNothingLeft(before)
  })
  const silent = { debug() {}, info() {}, warn() {}, error() {} }
  const text = async (reactor: number, bytes: string | Uint8Array, options = {}) =>
    (await server.call(reactor, bytes, options)).toString()
  const failure = (promise: Promise<unknown>): Promise<Error & { code?: string }> =>
    promise.then(
      () => expect.fail('it should have failed'),
      (error: Error) => error,
    )

  it('runs the hook on the reactor that is named, and resolves to its result', async () => {
    expect(await text(0, 'who')).to.equal('0')
    expect(await text(1, 'who')).to.equal('1')
    expect(await text(1, 'thread')).to.not.equal(await text(0, 'thread'))
    expect(await text(1, 'nothing')).to.equal('')
    const bytes = Buffer.alloc(3 << 20, 'abc')
    expect((await server.call(1, bytes)).equals(bytes)).to.equal(true)
    const other = ServerHandle.of(server.token)
    expect((await other.call(1, 'who')).toString()).to.equal('1')
    other.close()
    expect(await failure(other.call(1, 'who'))).to.have.property('code', 'ERR_MR_CLOSED')
  })

  it('goes from reactor to reactor, and nowhere for a reactor that calls itself', async () => {
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('0 who\n1 who\n0 relay 1\n1 relay 0\n0 throw\n9 who\n')
    expect(await client.lines(6)).to.deep.equal(['0', '1', '1', '0', 'E_OWN', 'ERR_MR_NO_REACTOR'])
    client.destroy()
    await client.untilClosed()
  })

  it('keeps the order of one caller, a thousand at once', async () => {
    const seen = await Promise.all(Array.from({ length: 1000 }, (_, i) => text(i % 2, `n${i}`)))
    expect(seen).to.deep.equal(Array.from({ length: 1000 }, (_, i) => `n${i}`))
  })

  it('rejects with the error of the hook, its code and its name', async () => {
    const error = await failure(server.call(1, 'throw'))
    expect([error.name, error.message, error.code]).to.deep.equal(['TypeError', 'no such thing', 'E_OWN'])
    expect((await failure(server.call(1, 'reject'))).message).to.equal('later')
    expect(await failure(server.call(1, 'wrong'))).to.have.property('code', 'ERR_MR_DATA')
    expect(await failure(server.call(1, 'large'))).to.have.property('code', 'ERR_MR_CALL_TOO_LARGE')
  })

  it('refuses what cannot be called', async () => {
    for (const reactor of [2, -1, 1.5, Number.NaN, 2 ** 40, Object.create(null)]) {
      expect(await failure(server.call(reactor, 'who'))).to.have.property('code', 'ERR_MR_NO_REACTOR')
    }
    expect(await failure(server.call(0, 5 as never))).to.have.property('code', 'ERR_MR_DATA')
    expect(await failure(server.call(0, Buffer.alloc((16 << 20) + 1)))).to.have.property('code', 'ERR_MR_CALL_TOO_LARGE')
    expect(await failure(server.call(0, 'who', { timeout: 1 } as object))).to.have.property('code', 'ERR_MR_UNKNOWN_OPTION')
    const silentServer = await serve({ app: app('echo'), listen: 0, reactors: 1 })
    expect(await failure(silentServer.call(0, 'who'))).to.have.property('code', 'ERR_MR_NO_HOOK')
    await silentServer.close()
  })

  it('ends with its time, its signal, or the server', async () => {
    expect(await failure(server.call(1, 'never', { timeoutMs: 20 }))).to.have.property('code', 'ERR_MR_CALL_TIMEOUT')
    const abort = new AbortController()
    const aborted = failure(server.call(1, 'never', { signal: abort.signal }))
    abort.abort(new Error('enough'))
    expect((await aborted).message).to.equal('enough')
    const closed = failure(server.call(1, 'never'))
    await server.close({ timeoutMs: 100 })
    expect(await closed)
      .to.have.property('code')
      .that.is.oneOf(['ERR_MR_CLOSED', 'ERR_MR_THREAD_LOST'])
    expect(await failure(server.call(1, 'who'))).to.have.property('code', 'ERR_MR_CLOSED')
  })

  it('says that the thread died on it; the next thread answers the next ones', async () => {
    const replaced = new Promise((resolve) => server.once('reactorReplaced', resolve))
    expect(await failure(server.call(1, 'exit'))).to.have.property('code', 'ERR_MR_THREAD_LOST')
    await replaced
    expect(await text(1, 'who')).to.equal('1')
  })

  it('waits through a reload and a resize', async () => {
    const [begun, thread] = [text(1, 'soon'), await text(1, 'thread')]
    const reloaded = server.reload()
    let stop = false
    const calling = (async () => {
      let count = 0
      while (!stop) {
        expect(await text(count % 2, `c${count}`)).to.equal(`c${count}`)
        count++
      }
      return count
    })()
    expect(await begun).to.equal(`soon ${thread}`)
    await reloaded
    expect(await text(1, 'thread')).to.not.equal(thread)
    stop = true
    expect(await calling).to.be.above(0)
    const last = text(1, 'soon')
    await server.resize({ reactors: 1 })
    expect(await last).to.match(/^soon/)
    expect(await failure(server.call(1, 'who'))).to.have.property('code', 'ERR_MR_NO_REACTOR')
    await server.resize({ reactors: 2 })
    expect(await text(1, 'who')).to.equal('1')
  })

  it('asks an httpApp, which has called and balance beside request', async () => {
    await using http = await serve({
      app: app('http-called'),
      listen: { port: 0, host: '127.0.0.1' },
      reactors: 2,
      logger: silent,
    })
    const { port } = http.listeners[0]!
    for (const reactor of [0, 1, 1, 0]) {
      const answer = await fetch(`http://127.0.0.1:${port}/${reactor}`, { headers: { connection: 'close' } })
      expect(await answer.text()).to.equal(`1 asked who: ${reactor}, ${reactor}`)
    }
  })
})
