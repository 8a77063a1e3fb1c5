import { readFileSync } from 'node:fs'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { CloseReason } from '@multireactor/core'
import { Client } from '../support/client.js'
import type { Fault, FaultRule, Faults } from '../support/faults.js'
import type { Random } from '../support/random.js'
import type { ServerProcess, Vitals } from '../support/server-process.js'
import { ask } from './asks.js'

interface Sizes {
  reactors: number
  pool: number
}

interface Injury {
  /** Not oftener: deaths in quick succession are a crash loop, which is another matter. */
  atMostEveryMs: number
  /** Does it, and resolves when it has taken place; proofs come from the server. */
  inflict: () => Promise<void>
  /** The server's count of it since the start. */
  proof: (vitals: Vitals) => number
}

/** None of them is visible to a client. */
const harmless: FaultRule[] = [
  ...(['accept4', 'recv', 'send', 'sendmsg', 'epoll_wait', 'read', 'write'] as const).map(
    (call) => ({ call, error: 'EINTR', every: 2 }) as const,
  ),
  ...(['recv', 'send'] as const).map((call) => ({ call, error: 'EAGAIN', every: 3 }) as const),
  { call: 'accept4', error: 'ECONNABORTED', every: 2 },
  { call: 'recv', atMost: 3 },
  { call: 'send', atMost: 5 },
  { call: 'epoll_wait', atMost: 1 },
]
const noDescriptors: FaultRule[] = (['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'] as const).map((error) => ({
  call: 'accept4',
  error,
  every: 2,
}))
/** Costs the connection that it hits. */
const refusals: FaultRule[] = [
  { call: 'epoll_add', error: 'ENOSPC', every: 20 },
  { call: 'epoll_mod', error: 'ENOMEM', every: 100 },
]
const dribblers = 20
const patienceMs = 90_000
const mostTries = 3
const resets = 50
const floodBytes = 12 << 20

const closedAs = (reason: CloseReason) => (vitals: Vitals) => vitals.stats.connections.closed[reason]

/** The faults of a soak: one after the other, at random, until each has happened at least once. */
export class Injuries {
  /** Wrong answers. */
  readonly wrong: string[] = []
  /** Connections of our own that a fault was meant to cut. */
  victims = 0
  readonly #server: ServerProcess
  readonly #random: Random
  readonly #sizes: { most: Sizes; start: Sizes }
  readonly #rules = new Map<FaultRule, Fault>()
  readonly #all: Record<string, Injury>
  readonly #times = new Map<string, number>()
  readonly #lastAt = new Map<string, number>()
  readonly #proven = new Map<string, number>()
  #counted = 0

  constructor(server: ServerProcess, faults: Faults, random: Random, sizes: { most: Sizes; start: Sizes }) {
    this.#server = server
    this.#random = random
    this.#sizes = sizes
    for (const rule of [...harmless, ...noDescriptors, ...refusals, wallClock]) {
      const fault = faults.inject(rule)
      fault.stop()
      this.#rules.set(rule, fault)
    }
    const happened = (rules: FaultRule[]) => () => rules.reduce((sum, rule) => sum + this.#rules.get(rule)!.happened, 0)
    const counted = () => this.#counted
    const replaced = (how: (one: { reason: string; error: string | undefined }) => boolean) => (vitals: Vitals) =>
      vitals.replaced.filter(how).length
    const reactorReplaced = (how: (one: { reason: string; error: string | undefined }) => boolean) => (vitals: Vitals) =>
      vitals.reactorsReplaced.filter(how).length
    const memory = /memory/i
    this.#all = {
      'worker exits': injury(
        6_000,
        () => this.#cut('die exit\n'),
        replaced((one) => one.reason === 'exit' && !memory.test(`${one.error}`)),
      ),
      'worker never returns': injury(
        15_000,
        () => this.#cut('die loop\n'),
        replaced((one) => one.reason === 'timeout'),
      ),
      'worker reaches its heap limit': injury(
        30_000,
        () => this.#cut('die heap\n'),
        replaced((one) => memory.test(`${one.error}`)),
      ),
      'reactor exits': injury(
        25_000,
        () => this.#killReactor('exit'),
        reactorReplaced((one) => one.reason === 'exit' && !/nowhere/.test(`${one.error}`)),
      ),
      'reactor throws': injury(
        25_000,
        () => this.#killReactor('throw'),
        reactorReplaced((one) => /nowhere/.test(`${one.error}`)),
      ),
      'reactor never returns': injury(
        40_000,
        () => this.#killReactor('loop'),
        reactorReplaced((one) => one.reason === 'stuck'),
      ),
      'reader that never reads': injury(5_000, () => this.#neverReads(), closedAs('write-timeout')),
      'reader that reads later': injury(
        2_000,
        () => this.#readsLater(),
        (vitals) => sum(vitals, 'pausesByPeer'),
      ),
      resets: injury(1_000, () => this.#reset(), closedAs('reset')),
      'half-close with replies in flight': injury(500, () => this.#halfClose(), counted),
      slowloris: injury(4_000, () => this.#dribble(), closedAs('frame-timeout')),
      'frames over the limit': injury(500, () => this.#tooLarge(), closedAs('frame-too-large')),
      'connections that move': injury(
        500,
        () => this.#move(),
        (vitals) => sum(vitals, 'moved'),
      ),
      reload: injury(3_000, () => this.#count(() => server.reload()), counted),
      resize: injury(2_000, () => this.#count(() => server.resize(this.#anySize())), counted),
      'a process that is stopped': injury(5_000, () => this.#stopped(), counted),
      'a wall clock that is set back': injury(2_000, () => this.#setClockBack(), happened([wallClock])),
      'system calls that do less': injury(1_000, () => this.#during(this.#some(harmless), 1_500), happened(harmless)),
      'no descriptors': injury(4_000, () => this.#during(noDescriptors, 500), happened(noDescriptors)),
      'an epoll set that refuses': injury(2_000, () => this.#during(refusals, 500), happened(refusals)),
    }
  }

  /** Faults until then; the last one is over when it resolves. */
  async until(atMs: number): Promise<void> {
    while (performance.now() < atMs) {
      const now = performance.now()
      const names = Object.keys(this.#all).filter(
        (name) => (this.#lastAt.get(name) ?? -Infinity) + this.#all[name]!.atMostEveryMs <= now,
      )
      // Those that have never happened come first, in random order.
      const fresh = names.filter((name) => !this.#times.has(name))
      const choice = fresh.length > 0 ? fresh : names
      if (choice.length > 0) await this.#inflict(this.#random.pick(choice))
      await delay(this.#random.below(300)) // so dense the faults are
    }
  }

  /** A short soak may end before each has had its turn. */
  async untilEachHappened(): Promise<void> {
    for (const name of Object.keys(this.#all)) {
      for (let tries = 0; tries < mostTries && !this.#proven.get(name); tries++) await this.#inflict(name)
    }
  }

  stop(): void {
    for (const fault of this.#rules.values()) fault.stop()
  }

  /** Those of which the server knows nothing. */
  missing(): string[] {
    return Object.keys(this.#all).filter((name) => (this.#proven.get(name) ?? 0) === 0)
  }

  summary(): string {
    return Object.keys(this.#all)
      .map((name) => `${name} ${this.#times.get(name) ?? 0} (counted ${this.#proven.get(name) ?? 0})`)
      .join(', ')
  }

  async #inflict(name: string): Promise<void> {
    const { inflict, proof } = this.#all[name]!
    if (process.env['SOAK_TRACE']) console.log(`      ${(performance.now() / 1_000).toFixed(1)} s: ${name}`)
    try {
      const before = proof(await this.#server.vitals())
      await withinTime(inflict(), async () => JSON.stringify(await this.#server.vitals()))
      const after = proof(await this.#server.vitals())
      this.#proven.set(name, (this.#proven.get(name) ?? 0) + after - before)
    } catch (error) {
      throw new Error(`${name}: ${(error as Error).message}`, { cause: error })
    }
    this.#times.set(name, (this.#times.get(name) ?? 0) + 1)
    this.#lastAt.set(name, performance.now())
  }

  /** For faults that the server does not count: it has taken place when it resolves. */
  async #count(work: () => Promise<void>): Promise<void> {
    await work()
    this.#counted++
  }

  /** A frame that kills the worker that has it, and so costs its connection. */
  async #cut(line: string): Promise<void> {
    const { workersReplaced } = (await this.#server.vitals()).stats
    const client = await this.#connect()
    client.write(line)
    await client.untilClosed()
    this.victims++
    if (client.received.length > 0) this.wrong.push(`${line}: ${client.received}`)
    await this.#server.until('a worker was replaced', ({ stats }) => stats.workersReplaced > workersReplaced, 60_000)
  }

  async #killReactor(how: string): Promise<void> {
    const { reactorsReplaced } = (await this.#server.vitals()).stats
    const client = await this.#connect()
    client.write(`end ${how}\n`)
    await this.#server.until('a reactor has a new thread', ({ stats }) => stats.reactorsReplaced > reactorsReplaced, 60_000)
    // Only the one whose frame it was closes, and only if it was in its hook still.
    client.socket.end()
    await client.untilClosed()
    if (how !== 'throw') this.victims++
  }

  async #neverReads(): Promise<void> {
    const client = await this.#connect()
    const before = closedAs('write-timeout')(await this.#server.vitals())
    client.socket.pause()
    client.write(`flood ${floodBytes}\n`)
    await this.#server.until('it was given up', (vitals) => closedAs('write-timeout')(vitals) > before, 60_000)
    this.victims++
    client.destroy()
  }

  async #readsLater(): Promise<void> {
    // Not with a Client, which keeps all received bytes in one piece.
    const socket = net.connect(this.#server.port, '127.0.0.1')
    const reply = Buffer.concat([Buffer.alloc(floodBytes, 'f'), Buffer.from('then\n')])
    let received = 0
    let same = true
    const closed = new Promise((resolve) => socket.on('close', resolve))
    socket.on('error', () => {})
    socket.pause()
    socket.on('data', (chunk: Buffer) => {
      same &&= chunk.equals(reply.subarray(received, received + chunk.length))
      received += chunk.length
      if (received >= reply.length) socket.end()
    })
    socket.pause()
    const paused = sum(await this.#server.vitals(), 'pausesByPeer')
    socket.write(`flood ${floodBytes}\ninline then\n`)
    await this.#server.until('it waits', (vitals) => sum(vitals, 'pausesByPeer') > paused, 1_000).catch(() => {})
    socket.resume()
    await closed
    if (!same) this.wrong.push('flood')
    // On a machine that was busy meanwhile it may have been given up; the received bytes are right all the same.
    if (received < reply.length) this.victims++
  }

  async #reset(): Promise<void> {
    const clients = await Promise.all(Array.from({ length: resets }, () => this.#connect()))
    for (const [i, client] of clients.entries()) {
      client.write(i % 2 ? 'late 50 unheard\n' : 'inline unread\n')
      client.socket.resetAndDestroy()
    }
    await Promise.all(clients.map((client) => client.untilClosed()))
    await this.#server.vitals()
  }

  async #halfClose(): Promise<void> {
    const asks = Array.from({ length: 20 }, (_, i) => ask(`half.${i}`, this.#random))
    const client = await this.#connect({ allowHalfOpen: true })
    client.socket.end(asks.map(({ line }) => `${line}\n`).join(''))
    await client.untilClosed()
    const expected = asks.map(({ reply }) => reply).join('')
    if (client.received.toString('latin1') !== expected) this.wrong.push(`half-close: ${client.received}`)
    this.#counted++
  }

  async #dribble(): Promise<void> {
    const before = closedAs('frame-timeout')(await this.#server.vitals())
    const clients = await Promise.all(Array.from({ length: dribblers }, () => this.#connect()))
    const timer = setInterval(() => {
      for (const client of clients) if (!client.closed) client.write('x')
    }, 100)
    await Promise.all(clients.map((client) => client.untilClosed()))
    clearInterval(timer)
    await this.#server.until('all were cut', (vitals) => closedAs('frame-timeout')(vitals) >= before + dribblers, 60_000)
    this.victims += dribblers
  }

  async #tooLarge(): Promise<void> {
    const line = await this.#connect()
    line.write('y'.repeat(65_537))
    const binary = await this.#connect({}, 1)
    binary.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 2, 3]))
    await Promise.all([line.untilClosed(), binary.untilClosed()])
    for (const { received } of [line, binary]) if (received.length > 0) this.wrong.push(`too large: ${received}`)
  }

  async #move(): Promise<void> {
    const { reactors } = this.#sizes.start
    await this.#server.resize(this.#sizes.start)
    const client = await this.#connect()
    const asks = Array.from({ length: 30 }, (_, i) => ask(`move.${i}`, this.#random))
    for (const [i, { line }] of asks.entries())
      client.write(i % 10 === 5 ? `move ${this.#random.below(reactors)}\n${line}\n` : `${line}\n`)
    client.socket.end()
    await client.untilClosed()
    const expected = asks.map(({ reply }) => reply).join('')
    if (!expected.startsWith(client.received.toString('latin1'))) this.wrong.push(`moved: ${client.received}`)
  }

  async #stopped(): Promise<void> {
    this.#server.signal('SIGSTOP')
    while (!/^State:\s+T/m.test(readFileSync(`/proc/${this.#server.pid}/status`, 'utf8'))) await new Promise(setImmediate)
    await delay(700) // the fault itself: so long it does not run
    this.#server.signal('SIGCONT')
    this.#counted++
  }

  /** A question makes the server read the clock, which it does not do by itself. */
  async #setClockBack(): Promise<void> {
    const fault = this.#rules.get(wallClock)!
    fault.start()
    const { wallMs } = await this.#server.vitals()
    if (Math.abs(Date.now() - hourMs - wallMs) > hourMs / 2) this.wrong.push('the clock was not set back')
    await delay(1_000) // so long it is wrong
    await this.#server.vitals()
    fault.stop()
  }

  /** These faults for so long. Clients of our own make sure that connections meet them. */
  async #during(rules: readonly FaultRule[], milliseconds: number): Promise<void> {
    for (const rule of rules) this.#rules.get(rule)!.start()
    try {
      for (const until = performance.now() + milliseconds; performance.now() < until; ) {
        const socket = net.connect(this.#server.port, '127.0.0.1')
        socket.on('error', () => {})
        socket.end('inline hello\n')
        socket.resume()
        await Promise.race([new Promise((resolve) => socket.on('close', resolve)), delay(200)])
        socket.destroy()
      }
    } finally {
      for (const rule of rules) this.#rules.get(rule)!.stop()
    }
  }

  #some(rules: readonly FaultRule[]): FaultRule[] {
    return Array.from({ length: 4 }, () => this.#random.pick(rules))
  }

  #anySize(): Sizes {
    const { most } = this.#sizes
    return { reactors: 1 + this.#random.below(most.reactors), pool: 1 + this.#random.below(most.pool) }
  }

  #connect(options: { allowHalfOpen?: boolean } = {}, listener = 0): Promise<Client> {
    return Client.connect(this.#server.ports[listener]!, options)
  }
}

const hourMs = 3_600_000
const wallClock: FaultRule = { call: 'wall_clock', atMost: hourMs / 1_000 }

function injury(atMostEveryMs: number, inflict: () => Promise<void>, proof: (vitals: Vitals) => number): Injury {
  return { atMostEveryMs, inflict, proof }
}

function sum(vitals: Vitals, of: 'pausesByPeer' | 'moved'): number {
  return vitals.stats.reactors.reduce((total, reactor) => total + reactor[of], 0)
}

/** A client that waits for ever has lost something: the soak ends there, with the server's report. */
export async function withinTime<T>(work: Promise<T>, describe: () => Promise<string>): Promise<T> {
  const over = new AbortController()
  const late = delay(patienceMs, undefined, { signal: over.signal }).then(async () => {
    throw new Error(`not over within ${patienceMs} ms: ${await describe()}`)
  })
  late.catch(() => {})
  try {
    return await Promise.race([work, late])
  } finally {
    over.abort()
  }
}
