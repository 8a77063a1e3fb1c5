import { prometheusText, type ServeOptions, serve } from '@multireactor/core'
import { Pool } from '@multireactor/pool'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { serve as serveAll } from 'multireactor'
import { failureOf, fixture } from '../fixtures/bad-failure.js'

const good = { app: fixture('bad-echo.js'), listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool: 0 }
const serving = (options: Record<string, unknown>) => failureOf(() => serve({ ...good, ...options } as ServeOptions))
const making = (options: Record<string, unknown>) =>
  failureOf(() => new Pool({ worker: fixture('pool-echo.js'), size: 1, ...options } as ConstructorParameters<typeof Pool>[0]))

describe('wrong options', () => {
  it('of serve(): an unknown one is refused with the nearest name, at every depth', async () => {
    const wrong: [Record<string, unknown>, string][] = [
      [{ reactor: 1 }, "unknown option 'reactor', did you mean 'reactors'?"],
      [{ startTimeout: 1 }, "unknown option 'startTimeout', did you mean 'startTimeoutMs'?"],
      [{ Pool: 1 }, "unknown option 'Pool', did you mean 'pool'?"],
      [{ listen: { prot: 1 } }, "unknown option 'prot', did you mean 'port'?"],
      [{ pool: { taskTimeoutMS: 1 } }, "unknown option 'taskTimeoutMS', did you mean 'taskTimeoutMs'?"],
      [
        { xyzzyxyzzy: 1 },
        '(known: app, listen, reactors, pool, balance, pin, limits, startTimeoutMs, hookTimeoutMs, resourceLimits, logger, signal, control, admin, fetchAdapter)',
      ],
    ]
    for (const [options, text] of wrong) {
      const error = await serving(options)
      expect(error.code).to.equal('ERR_MR_UNKNOWN_OPTION')
      expect(error.message).to.include(text)
    }
  })

  it('of serve(): a wrong type is refused with what was expected and what was given', async () => {
    const wrong: [Record<string, unknown>, string][] = [
      [{ reactors: '2' }, '\'reactors\' must be a number, and is "2"'],
      [{ pool: '2' }, 'pool: must be a number of workers, or an object such as { size: 2 }, and is "2"'],
      [{ pool: { size: null } }, "'size' must be a number, and is null"],
      [{ pool: [] }, 'or an object such as { size: 2 }, and is an array'],
      [{ listen: undefined }, "'listen' must be a port"],
      [{ listen: [] }, "'listen' must be a port"],
      [
        { listen: '7000' },
        'listen: must be a port (a number), an address such as { port: 7000 }, or a list of them, and is "7000"',
      ],
      [{ listen: [7000, '7001'] }, 'and is "7001"'],
      [{ listen: {} }, 'needs a port (0 to 65535) or a path'],
      [{ listen: { port: 0, path: '/tmp/both' } }, 'needs a port (0 to 65535) or a path'],
      [{ listen: { path: '' } }, "'path' must be a string that is not empty"],
      [{ listen: { port: 0, shared: 1 } }, "'shared' must be true or false, and is 1"],
      [{ signal: {} }, "'signal' must be an AbortSignal"],
      [{ listen: { fd: '3' } }, "'fd' must be the number of an open descriptor"],
      [{ listen: { fd: [] } }, "'fd' must be the number of an open descriptor"],
      [{ listen: { fd: -1 } }, "'fd' must be the number of an open descriptor, or a list of such numbers, and is -1"],
      [{ listen: { port: 0, fd: 3 } }, 'or else fd or systemd, and got several of them'],
      [{ listen: { systemd: false } }, "'systemd' must be true, or the name of a socket"],
      [{ control: 1 }, 'control: must be the path of a Unix socket, or an object such as { path, timeoutMs }, and is 1'],
      [{ limits: 5 }, 'limits: the options must be an object, and are 5'],
      [{ control: {} }, 'needs the path of a Unix socket'],
    ]
    for (const [options, text] of wrong) {
      const error = await serving(options)
      expect(error.code, text).to.equal('ERR_MR_OPTION_TYPE')
      expect(error.message).to.include(text)
    }
  })

  it('of serve(): what are no options at all are refused, by each of its packages', async () => {
    for (const [options, text] of [
      ['app.ts', '"app.ts"'],
      [['app.ts'], 'an array'],
      [null, 'null'],
      [7000, '7000'],
    ] as const) {
      for (const one of [serve, serveAll]) {
        expect((await failureOf(() => one(undefined as never))).message).to.include("'app' must be the URL or path of a module")
        const error = await failureOf(() => one(options as never))
        expect(error.code).to.equal('ERR_MR_OPTION_TYPE')
        expect(error.message).to.equal(`serve(): must be an object such as { app: './app.js', listen: 7000 }, and is ${text}`)
      }
    }
  })

  it('of serve(): a policy that there is not is refused, for the server and for a listener', async () => {
    for (const options of [{ balance: 'least-connection' }, { listen: { port: 0, balance: 'least-connection' } }]) {
      const error = await serving(options)
      expect(error.code).to.equal('ERR_MR_OPTION_RANGE')
      expect(error.message).to.include("'kernel' or 'least-connections' or 'address'")
      expect(error.message).to.include("did you mean 'least-connections'?")
    }
    expect((await serving({ balance: 'app' })).code).to.equal('ERR_MR_OPTION_RANGE')
  })

  it('of serve(): CPUs that there are not are refused before a thread is made', async () => {
    for (const [pin, code, text] of [
      [[4096], 'ERR_MR_OPTION_RANGE', "'reactors' has 4096, which is no CPU that this process may use (they are "],
      [[-1], 'ERR_MR_OPTION_RANGE', "'reactors' has -1"],
      [[0.5], 'ERR_MR_OPTION_RANGE', "'reactors' has 0.5"],
      [{ pool: [100_000] }, 'ERR_MR_OPTION_RANGE', "'pool' has 100000"],
      [[], 'ERR_MR_OPTION_TYPE', "'reactors' must be true or a list of CPU numbers"],
      [['0'], 'ERR_MR_OPTION_TYPE', 'a list of CPU numbers'],
      [{ reactors: 0 }, 'ERR_MR_OPTION_TYPE', 'and is 0'],
      [{ reactor: true }, 'ERR_MR_UNKNOWN_OPTION', "did you mean 'reactors'?"],
      [
        1,
        'ERR_MR_OPTION_TYPE',
        'pin: must be true, a list of CPU numbers, or an object such as { reactors: true, pool: [2, 3] }, and is 1',
      ],
    ] as const) {
      const error = await serving({ pin })
      expect(error.code, text).to.equal(code)
      expect(error.message).to.include(text)
    }
  })

  it('of serve(): a wrong logger is refused before anything starts', async () => {
    expect((await serving({ logger: 'stderr' })).code).to.equal('ERR_MR_OPTION_TYPE')
    expect((await serving({ logger: {} })).code).to.equal('ERR_MR_OPTION_TYPE')
  })

  it('of serve(): reactors must be a whole number from 1 to 1024', async () => {
    for (const reactors of [0, -1, Number.NaN, 1.5, Number.POSITIVE_INFINITY, 10_000]) {
      const error = await serving({ reactors })
      expect(error.code, String(reactors)).to.equal('ERR_MR_OPTION_RANGE')
      expect(error.message).to.include(`'reactors' must be a whole number from 1 to 1024, and is ${reactors}`)
    }
  })

  it('of serve(): pool settings must be in range', async () => {
    for (const pool of [
      -1,
      Number.NaN,
      10_000,
      { size: 1, concurrency: 0 },
      { maxQueued: 0 },
      { taskTimeoutMs: 0 },
      { onTaskLost: 'ignore' },
    ]) {
      expect((await serving({ pool })).code).to.equal('ERR_MR_OPTION_RANGE')
    }
  })

  it('of serve(): a framing that is none is refused', async () => {
    const { lines } = await import('@multireactor/core')
    expect((await failureOf(() => lines({ maxByte: 1 } as never))).code).to.equal('ERR_MR_UNKNOWN_OPTION')
    expect((await failureOf(() => lines({ maxBytes: 0 }))).code).to.equal('ERR_MR_OPTION_RANGE')
  })

  it('of serve(): the name of a certificate instead of its contents is refused, and said to be one', async () => {
    for (const [tls, text] of [
      [
        { cert: '/nope.pem', key: '/nope.key' },
        `'cert' must be the contents of a PEM file, such as readFileSync(name), and is "/nope.pem"`,
      ],
      [{ contexts: { a: { ca: ['ca.pem'] } } }, `contexts a: `],
      [
        { contexts: { a: { ca: ['ca.pem'] } } },
        `'ca' must be the contents of a PEM file, such as readFileSync(name), and is "ca.pem"`,
      ],
      [{ cert: Buffer.from('nothing') }, 'cert and key must be PEM and belong together'],
    ] as const) {
      const error = await serving({ listen: { port: 0, tls } })
      expect(error.code).to.equal('ERR_MR_TLS')
      expect(error.message).to.include(text)
    }
  })

  it('of a pool are refused alike', async () => {
    const wrong: [Record<string, unknown>, string, string][] = [
      [{ sise: 1 }, 'ERR_MR_UNKNOWN_OPTION', "did you mean 'size'?"],
      [{ size: '1' }, 'ERR_MR_OPTION_TYPE', "'size' must be a number"],
      [{ size: 0 }, 'ERR_MR_OPTION_RANGE', "'size' must be a whole number from 1 to 256, and is 0"],
      [{ size: Number.NaN }, 'ERR_MR_OPTION_RANGE', 'NaN'],
      [{ size: 10_000 }, 'ERR_MR_OPTION_RANGE', '10000'],
      [{ onQueueFull: 'wiat' }, 'ERR_MR_OPTION_RANGE', "did you mean 'wait'?"],
      [{ worker: undefined }, 'ERR_MR_OPTION_TYPE', "'worker' must be the URL or path of a module"],
      [{ worker: fixture('no-such-worker.js') }, 'ERR_MR_APP_NOT_FOUND', 'no-such-worker.js'],
      [{ onWorkerReplaced: 1 }, 'ERR_MR_OPTION_TYPE', "'onWorkerReplaced' must be a function"],
    ]
    for (const [options, code, text] of wrong) {
      const error = await making(options)
      expect(error.code, text).to.equal(code)
      expect(error.message).to.include(text)
    }
  })

  it('of prometheusText(): what are no statistics is refused', async () => {
    for (const stats of [undefined, null, 1, {}, { reactors: [] }]) {
      const error = await failureOf(() => prometheusText(stats as never))
      expect(error.code).to.equal('ERR_MR_OPTION_TYPE')
      expect(error.message).to.include('must be a result of server.stats(), and is')
    }
  })

  it('of a reactor are refused alike', async () => {
    expect((await failureOf(() => new Reactor({ onEror() {} } as never))).message).to.include("did you mean 'onError'?")
    await using reactor = new Reactor()
    const listening = (address: unknown, handlers: unknown) =>
      failureOf(() => reactor.listen(address as never, handlers as never))
    for (const [address, handlers, text] of [
      [undefined, { message() {} }, 'must be a port or an address such as { port: 7000 }, and is undefined'],
      ['7000', { message() {} }, 'must be a port or an address such as { port: 7000 }, and is "7000"'],
      [null, { message() {} }, 'and is null'],
      [{ port: 0 }, undefined, 'the handlers must be an object with hooks such as message, and are undefined'],
      [0, () => {}, 'and are a function'],
      [0, null, 'and are null'],
    ] as const) {
      const error = await listening(address, handlers)
      expect(error.code, text).to.equal('ERR_MR_OPTION_TYPE')
      expect(error.message).to.include(text)
    }
    expect((await listening(0, {})).message).to.include('need a message hook')
    expect((await listening(0, { mesage() {} })).message).to.include("did you mean 'message'?")
    expect((await listening({ port: 0, hots: 'x' }, { message() {} })).message).to.include("did you mean 'host'?")
    expect((await listening(70_000, { message() {} })).code).to.equal('ERR_MR_OPTION_RANGE')
    expect((await listening({ port: 0, host: '127.0.0.1' }, { message() {}, noDelay: 'yes' })).code).to.equal(
      'ERR_MR_OPTION_TYPE',
    )
  })
})
