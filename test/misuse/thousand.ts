import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { shown } from '@multireactor/addon'
import { type Server, serve } from '@multireactor/core'
import { webSocketMessage } from '@multireactor/http'
import { Pool } from '@multireactor/pool'
import { Reactor, lines } from '@multireactor/reactor'
import { census } from '../support/leaks.js'
import type { Random } from '../support/random.js'
import { misuse } from './hooks.js'
import { callCodes, publication, ways } from './operations.js'
import { atOnce, contradiction, mostPeers, topicName, topics } from './records.js'
import { type Listener, listeners, type Seen, visit } from './peer.js'
import { attempt, type Expected, mayBeLost, newStory, randomOf, tell, variants, waiting } from './story.js'
import { compare, someJob, taskCodes } from './tasks.js'
import { someForm, someNoBytes, someNonsense } from './values.js'

// One server, one pool and some reactors, and the sequences from `first` up to `last` against them: a process of its own, started by run.ts.

const [first, last] = process.argv.slice(2).map(Number) as [number, number]
/** Limit for hangs. */
const mostMs = 30_000
const reactorEvery = 40

const here = (name: string): URL => new URL(`./${name}.js`, import.meta.url)
const proxyProtocol = { from: ['127.0.0.0/8'] }

const within = async <T>(what: string, promise: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`hangs: ${what}; not settled: ${[...waiting].join(', ')}`)), mostMs)
  })
  try {
    return await Promise.race([promise, over])
  } finally {
    clearTimeout(timer)
  }
}

process.on('unhandledRejection', (error) =>
  tell('wrong', -1, `an unhandled rejection in the main thread: ${(error as Error)?.stack ?? String(error)}`),
)
process.on('uncaughtException', (error) => tell('wrong', -1, `an uncaught exception in the main thread: ${error.stack}`))

const echoes = new Set<net.Socket>()
const echo = net.createServer({ allowHalfOpen: true }, (socket) => {
  echoes.add(socket)
  socket.on('close', () => echoes.delete(socket))
  socket.on('error', () => {})
  socket.pipe(socket)
})

async function start(): Promise<{ server: Server; pool: Pool; ports: Map<Listener, number> }> {
  const server = await serve({
    app: here('app_ordered'),
    listen: listeners
      .filter((name) => name !== 'ws')
      .map((name) => ({
        name,
        port: 0,
        host: '127.0.0.1',
        app: here(`app_${name}`),
        ...(name === 'http' ? {} : { proxyProtocol }),
      })),
    reactors: 2,
    pool: {
      size: 2,
      taskTimeoutMs: 2_000,
      ...(variants.refuses ? { maxQueued: 4, onQueueFull: 'reject' as const } : {}),
      ...(variants.hastens ? { maxWaitMs: 2 } : {}),
    },
    logger: { debug() {}, info() {}, warn: (line) => note(line), error: (line) => note(line) },
  })
  server.on('error', (error, { hook, thread }) => {
    const { code } = error as { code?: string }
    const isOurs = error.name === 'MultireactorError' || code?.startsWith('ERR_MR_')
    if (
      code === 'ASTRAY' ||
      (thread === 'main' && !isOurs) ||
      (/TypeError|RangeError|ReferenceError|Assertion/.test(error.name) && !/misuse/.test(error.stack ?? ''))
    ) {
      tell('wrong', -1, `an error event of ${hook}, ${thread}: ${error.stack}`)
    }
  })
  server.on('workerReplaced', ({ reason, error }) => {
    if (!threadsDie) tell('wrong', -1, `a worker was replaced: ${reason}: ${error?.stack}`)
  })
  server.on('reactorReplaced', ({ reason, error }) => {
    if (!threadsDie) tell('wrong', -1, `a reactor's thread was replaced: ${reason}: ${error?.stack}`)
  })
  const ports = new Map<Listener, number>(server.listeners.map(({ name, port }) => [name as Listener, port]))
  ports.set('ws', ports.get('http')!)
  const pool = new Pool({ worker: here('pool_worker'), size: 2, maxQueued: 4 })
  await pool.ready()
  return { server, pool, ports }
}

function note(line: string): void {
  if (/TypeError|RangeError|ReferenceError|[Aa]ssert/.test(line)) tell('wrong', -1, `a line of the log: ${line}`)
}

/** Sequences have begun whose threads die. */
let threadsDie = false
/** Errors of a call to a thread that dies. */
const deathCodes = ['ERR_MR_THREAD_LOST', 'ERR_MR_STATE']

let reactor: Reactor | undefined
let reactorPorts: { reactor: number; wildReactor: number } | undefined

async function freshReactor(echoPort: number): Promise<void> {
  const own = new Reactor({ onError: () => {} })
  const where = { port: 0, host: '127.0.0.1', proxyProtocol }
  // A standalone reactor hands nothing over.
  const { suspend: _s, restore: _r, ...tameHooks } = misuse({ pool: false, wild: false, echoPort: 0, dies: false })
  const { suspend: _t, restore: _u, ...wildHooks } = misuse({ pool: false, wild: true, echoPort, dies: false })
  const tame = await own.listen({ ...where, name: 'reactor' }, { ...tameHooks, framing: lines() } as never)
  const wild = await own.listen({ ...where, name: 'wildReactor' }, { ...wildHooks, framing: lines() } as never)
  reactor = own
  reactorPorts = { reactor: tame.port, wildReactor: wild.port }
}

/** One thing that the thread which called serve() may do. */
function overSeer(sequence: number, server: Server, pool: Pool, random: Random, key: string): unknown {
  const odd = someNonsense(random)
  const story = newStory(sequence, 0, `main (${shown(odd)})`)
  const make = (name: string, call: () => unknown, expected: Expected = {}) =>
    attempt(
      story,
      key,
      name,
      call,
      mayBeLost(sequence) ? { ...expected, may: [...(expected.may ?? []), ...deathCodes] } : expected,
    )
  const noBytes = someNoBytes(random)
  const topic = random.below(topics)
  const steps: (() => unknown)[] = [
    () => make('server.send wrong', () => server.send(random.pick([1n, -5n, 1n << 64n]), noBytes as never), { wrong: true }),
    () => typeof odd !== 'bigint' && make('server.send to nothing', () => server.send(odd as never, 'x'), { wrong: true }),
    () => make('server.send to nobody', () => server.send(random.pick([0n, -1n, 1n << 63n, 1n << 70n, (1n << 64n) - 1n]), '$$$')),
    () => {
      const { data, spoil } = someForm(random, publication(sequence, topic, random))
      make('server.publish', () => server.publish(topicName(sequence, topic), data))
      spoil()
    },
    () => make('server.publish of a message', () => server.publish(`nobody${sequence}`, webSocketMessage('$'))),
    () => make('server.publish wrong', () => server.publish('x', noBytes as never), { wrong: true }),
    () => make('server.publish to a wrong topic', () => server.publish(odd as never, 'x'), { wrong: true }),
    () => make('server.call', () => server.call(random.below(2), 'x'), { may: ['ERR_MR_NO_HOOK', 'ERR_MR_NO_REACTOR'] }),
    () => make('server.call wrong', () => server.call(0, noBytes as never), { wrong: true }),
    () => make('server.call to nobody', () => server.call(odd as never, 'x'), { wrong: true, may: ['ERR_MR_NO_REACTOR'] }),
    () =>
      make('server.call in wrong time', () => server.call(0, 'x', { timeoutMs: odd } as never), {
        wrong: odd !== 5,
        may: ['ERR_MR_NO_HOOK', 'ERR_MR_CALL_TIMEOUT'],
      }),
    () => make('server.stats', () => server.stats()),
    () =>
      make('server.reload wrong', () => server.reload({ timeoutMs: random.pick([-1, Number.NaN, 'x', null]) } as never), {
        wrong: true,
      }),
    () => make('server.reload wrong', () => server.reload({ no: odd } as never), { wrong: true }),
    () =>
      make('server.resize wrong', () => server.resize({ reactors: random.pick([0, -1, Number.NaN, '2', 1e9, null]) } as never), {
        wrong: true,
      }),
    () => make('server.resize wrong', () => server.resize(random.pick([5, null, 'x']) as never), { wrong: true }),
    () =>
      make('server.close wrong', () => server.close({ timeoutMs: random.pick([-1, Number.NaN, 'x', {}]) } as never), {
        wrong: true,
      }),
    () => make('server.setTls wrong', () => server.setTls(odd as never, odd as never), { wrong: true }),
    () =>
      !Array.isArray(odd) &&
      odd !== 5 &&
      make('serve wrong', () => serve({ app: here('app_pool'), listen: odd } as never), { wrong: true }),
    () => make('serve wrong', () => serve(random.pick([odd, undefined, {}, { app: odd, listen: 0 }]) as never), { wrong: true }),
    () => runOf(pool, random, make, noBytes),
    () => runOf(pool, random, make, noBytes),
    () => taskOf(pool, random, make),
    () => taskOf(server, random, make),
    () => make('pool.stats', () => pool.stats()),
    () =>
      make(
        'new Pool wrong',
        () =>
          new Pool(
            random.pick([odd, undefined, {}, { worker: odd }, { worker: here('pool_worker'), size: Number.NaN }]) as never,
          ),
        { wrong: true, may: ['ERR_MR_APP_NOT_FOUND'] },
      ),
    () =>
      make('new Reactor wrong', () => new Reactor(random.pick([5, 'x', null, { onError: 5 }, { no: 1 }]) as never), {
        wrong: true,
      }),
    () => make('reactor.publish wrong', () => reactor!.publish('x', noBytes as never), { wrong: true }),
    () => make('reactor.publish', () => reactor!.publish(topicName(sequence, topic), publication(sequence, topic, random))),
    () =>
      odd !== 5 &&
      make(
        'reactor.listen wrong',
        () => reactor!.listen(random.pick([odd, { port: odd }, { port: -1 }, { path: odd }]) as never, { message() {} }),
        { wrong: true, may: systemCodes },
      ),
    () =>
      make(
        'reactor.listen wrong',
        () => reactor!.listen({ port: 0 }, random.pick([odd, {}, { message: 5 }, { message() {}, framing: odd }]) as never),
        { wrong: true },
      ),
    () => make('reactor.setTls wrong', () => reactor!.setTls(odd as never, odd as never), { wrong: true }),
    () =>
      make('reactor.close wrong', () => reactor!.close({ timeoutMs: random.pick([-1, Number.NaN, 'x']) } as never), {
        wrong: true,
      }),
    () => make('reactor.stats', () => reactor!.stats()),
  ]
  if (random.below(150) === 0)
    return make('server.reload', () => server.reload({ timeoutMs: random.pick([0, 50, 1_000]) }), { may: ['ERR_MR_STATE'] })
  if (random.below(150) === 0)
    return make('server.resize', () =>
      server.resize({ reactors: 1 + random.below(3), pool: 1 + random.below(3), timeoutMs: random.pick([0, 20, 1_000]) }),
    )
  random.pick(steps)()
  return undefined
}

const systemCodes = ['EADDRINUSE', 'EACCES', 'EINVAL', 'ENOENT', 'ENAMETOOLONG', 'ERR_MR_CLOSED']

function runOf(
  pool: Pool,
  random: Random,
  make: (name: string, call: () => unknown, expected?: object) => unknown,
  noBytes: unknown,
): void {
  const may = ['ERR_MR_PARSE_RESULT', 'ERR_MR_TASK_FAILED', 'ABORTED', 'ERR_MR_CONNECTION_CLOSED', 'ERR_MR_DATA']
  const abort = new AbortController()
  const reason = Object.assign(new Error('aborted'), { code: 'ABORTED' })
  const way = random.below(6)
  if (way === 0) return void make('pool.run wrong', () => pool.run(noBytes as never), { wrong: true })
  if (way === 1)
    return void make('pool.run with a wrong signal', () => pool.run('x', { signal: someNonsense(random) } as never), {
      wrong: true,
    })
  const number = random.below(1e9)
  const what = random.pick(ways)
  const { data, spoil } = someForm(random, `job z ${number} 6 1 ${what} ${random.pick([0, 100, 70_000])}`)
  if (way === 2) abort.abort(reason)
  make(
    'pool.run',
    () =>
      pool.run(data, { signal: abort.signal }).then((bytes) => {
        const text = bytes.toString('latin1')
        if (!/^[z0-9.:\n]*$/.test(text) || (text !== '' && !text.startsWith(`z${number}.`)))
          tell('wrong', -1, `pool.run of ${what} resolves to ${text.slice(0, 200)}`)
      }),
    { may },
  )
  spoil()
  if (way === 3) abort.abort(reason)
  if (way === 4) setTimeout(() => abort.abort(reason), random.below(5))
}

function taskOf(
  owner: Pool | Server,
  random: Random,
  make: (name: string, call: () => unknown, expected?: object) => unknown,
): void {
  const abort = new AbortController()
  const { job, wanted, spoil } = someJob(random, 'z', -1)
  const way = random.below(4)
  if (way === 0) return void make('runTask wrong', () => owner.runTask(Symbol('no data')), { wrong: true })
  if (way === 1) abort.abort(Object.assign(new Error('aborted'), { code: 'ABORTED' }))
  make(
    'runTask',
    () => owner.runTask(job, { signal: abort.signal }).then((got) => compare(owner.constructor.name, wanted, got)),
    { may: [...taskCodes, ...callCodes, 'ABORTED'] },
  )
  spoil()
  if (way === 2) setTimeout(() => abort.abort(Object.assign(new Error('aborted'), { code: 'ABORTED' })), random.below(5))
}

async function sequence(number: number, server: Server, pool: Pool, ports: Map<Listener, number>): Promise<[string, Seen][]> {
  const random = randomOf(number, 'sequence')
  tell('begin', number, '')
  threadsDie ||= mayBeLost(number)
  const visits = Array.from({ length: 1 + random.below(mostPeers) }, async (_, index): Promise<[string, Seen]> => {
    const listener = random.pick(listeners.concat(['reactor', 'wildReactor', 'ordered', 'wild'] as never[])) as Listener
    const port = listener === 'reactor' || listener === 'wildReactor' ? reactorPorts![listener] : ports.get(listener)!
    const seen = await within(
      `peer ${number}/${index} of ${listener}`,
      visit({ sequence: number, index, listener, port, random: randomOf(number, index, 'peer') }),
    )
    if (seen.wrong) tell('wrong', number, `peer ${index} of ${listener}: ${seen.wrong}`)
    return [`${number} ${index} ${listener}`, seen]
  })
  const above = (async () => {
    for (let n = random.below(4); n > 0; n--) {
      const done = overSeer(number, server, pool, randomOf(number, 'main', n), `${number}:main:${n}`)
      if (done instanceof Promise) await within(`the main thread's call of ${number}`, done)
      await new Promise((resolve) => setTimeout(resolve, random.below(8)))
    }
  })()
  await above
  const all = await Promise.all(visits)
  checkOrder(number, all)
  tell('end', number, '')
  return all
}

/** Publications have one order for all subscribers of one server. */
function checkOrder(number: number, all: readonly [string, Seen][]): void {
  const subscribers = all.filter(([key]) => !/reactor/i.test(key))
  for (const [i, [key, one]] of subscribers.entries()) {
    for (const [otherKey, other] of subscribers.slice(i + 1)) {
      for (const [letter, publications] of one.publications) {
        const first = contradiction(publications, other.publications.get(letter) ?? [])
        if (first !== undefined)
          tell('wrong', number, `publication ${letter} ${first} has another place in ${key} than in ${otherKey}`)
      }
    }
  }
}

async function until(what: string, done: () => boolean): Promise<void> {
  for (const limit = performance.now() + mostMs; !done(); ) {
    if (performance.now() > limit) throw new Error(`hangs: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function closeReactor(random: Random): Promise<void> {
  const old = reactor!
  reactor = undefined
  await within('reactor.close()', old.close({ timeoutMs: random.pick([0, 20, 500]) }))
  const story = newStory(-1, 0, 'closed reactor')
  for (const call of [
    () => old.publish('x', 'y'),
    () => old.stats(),
    () => old.close(),
    () => old.listen(0, { message() {} }),
    () => old.connect({ port: 1 }),
  ]) {
    attempt(story, 'closed', 'a closed reactor', call, { wrong: true, may: ['ERR_MR_CLOSED'] })
  }
  old.unref().ref()
}

/** Checks the reports of the hooks: each connection closes once, and an orderly end is whole. */
function checkLog(seen: Map<string, Seen>): void {
  const opened = new Map<string, number>()
  const closed = new Map<string, [reason: string, accepted: number]>()
  for (const line of readFileSync(process.env['MISUSE_LOG']!, 'latin1').split('\n')) {
    const [word, number, index, reason, accepted] = line.split(' ')
    const key = `${number} ${index}`
    if (word === 'opened') opened.set(key, (opened.get(key) ?? 0) + 1)
    if (word !== 'closed') continue
    if (closed.has(key)) tell('wrong', Number(number), `${key} closed twice`)
    closed.set(key, [reason!, Number(accepted)])
  }
  // The hooks of a connection that closes with its thread are not called any more.
  for (const key of opened.keys())
    if (!closed.has(key) && !mayBeLost(Number(key.split(' ')[0])))
      tell('wrong', Number(key.split(' ')[0]), `connection ${key} has not closed`)
  for (const [key, { toTheEnd, own, text, isTorn }] of seen) {
    const [number, index, listener] = key.split(' ')
    const end = closed.get(`${number} ${index}`)
    if (!end || listener!.startsWith('wild') || end[0] !== 'end' || !toTheEnd) continue
    if (isTorn) tell('wrong', Number(number), `${key}: an orderly end in the middle of a record: ${text}`)
    if (own < end[1])
      tell('wrong', Number(number), `${key}: ${end[1]} writes were taken, ${own} came, and it closed as 'end': ${text}`)
  }
}

/** Which connections stay open, and their threads' descriptions of them. */
async function tellOpen(server: Server): Promise<void> {
  const { reactors } = server.stats()
  tell('wrong', -1, `open: ${reactors.map(({ open }, index) => `${open} in reactor ${index}`).join(', ')}`)
  for (let index = 0; index < reactors.length; index++) {
    const text = await server.call(index, '').then(String, String)
    for (const line of text.split('\n').filter((line) => line !== '')) {
      const sequence = /^(\d+) \d+ of /.exec(line)?.[1]
      tell('state', Number(sequence ?? -1), `reactor ${index}: ${line}`)
      if (sequence) tell('wrong', Number(sequence), `is open: ${line}`)
    }
  }
}

async function main(): Promise<void> {
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve))
  const echoPort = (echo.address() as net.AddressInfo).port
  process.env['MISUSE_ECHO'] = String(echoPort)
  const before = census()
  const { server, pool, ports } = await within('serve()', start())
  const seen = new Map<string, Seen>()
  let next = first
  for (let batch = first; batch < last; batch += reactorEvery) {
    await freshReactor(echoPort)
    const until = Math.min(last, batch + reactorEvery)
    const lane = async () => {
      while (next < until) for (const [key, what] of await sequence(next++, server, pool, ports)) seen.set(key, what)
    }
    await Promise.all(Array.from({ length: atOnce }, lane))
    await closeReactor(randomOf(batch, 'close'))
  }
  await until('connections are open that no peer has', () => server.stats().connections.open === 0).catch(
    async (error: unknown) => {
      await tellOpen(server)
      checkLog(seen)
      throw error
    },
  )
  await within('pool.close()', pool.close())
  await within('server.close()', server.close({ timeoutMs: 1_000 }))
  for (const call of [
    () => server.send(1n, 'x'),
    () => server.publish('x', 'y'),
    () => server.call(0, 'x'),
    () => server.stats(),
    () => server.reload(),
    () => server.resize({}),
    () => server.close(),
    () => pool.run('x'),
    () => pool.close(),
    () => pool.stats(),
  ]) {
    attempt(newStory(-1, 0, 'closed server'), 'closed', 'a closed server', call, { wrong: true, may: ['ERR_MR_CLOSED'] })
  }
  await until('sockets of the echo', () => echoes.size === 0)
  const same = () => {
    const now = census()
    return (
      now.sockets <= before.sockets &&
      now.epolls <= before.epolls &&
      now.eventfds <= before.eventfds &&
      now.threads <= before.threads + 1
    )
  }
  await until('descriptors or threads are left', same).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify([before, census()])}`)
  })
  checkLog(seen)
  appendFileSync(process.env['MISUSE_LOG']!, 'done -1 \n')
  echo.close()
}

if (!process.env['MISUSE_LOG']) throw new Error('started by run.ts')
writeFileSync(process.env['MISUSE_LOG']!, '', { flag: 'a' })
main().catch((error: Error) => {
  tell('wrong', -1, error.stack ?? String(error))
  process.exit(3)
})
