import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setEnvironmentData } from 'node:worker_threads'
import { type CloseReason, type Server, type ServerStats, serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from './app.js'
import { callAt, type Feature, startUpstream, Subject, turn } from './pairs.js'
import type { Random } from './random.js'
import { statsOnce } from './stats.js'

export const orders = ['first', 'second', 'at once'] as const
export type Order = (typeof orders)[number]

/** What becomes of a connection: it is served until its peer ends it, or it closes before. */
export interface Outcome {
  fates: readonly ('served' | CloseReason)[]
  /** Calls that are refused with `ERR_MR_STATE`; where both features come at once, whether they are depends on the moment. */
  refused: readonly string[]
}

/** What may come of a feature that is told or called. */
const expectedWords = /^(did|passed|gone|unanswered|refused ERR_MR_(STATE|CONNECTION_CLOSED))$/
const pem = (name: string) => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))
const silent = { debug() {}, info() {}, warn() {}, error() {} }
const isTransport = (feature: Feature): boolean => feature === 'TLS' || feature === 'PROXY'
const isOfServer = (feature: Feature): boolean => feature === 'reload' || feature === 'death'

/** A server for pairs, its upstream, its hooks' journal, and two connections that no pair may touch. */
export class PairServer {
  readonly server: Server
  readonly errors: string[] = []
  /** Successors wait longer with each one. */
  deaths = 0
  /** What the cell that runs has done so far: the first thing to know about one that hangs. */
  trace: string[] = []
  readonly #folder: string
  readonly #journal: string
  readonly #upstream: net.Server
  readonly #bystanders: Subject[] = []
  readonly #subjects: Subject[] = []
  #nextProxied = 1

  private constructor(server: Server, folder: string, upstream: net.Server) {
    this.server = server
    this.#folder = folder
    this.#journal = join(folder, 'journal')
    this.#upstream = upstream
    server.on('error', (error) => void this.errors.push(String(error)))
    server.on('reactorReplaced', () => void this.deaths++)
  }

  static async start(random: Random): Promise<PairServer> {
    const folder = mkdtempSync(join(tmpdir(), 'pairs-'))
    const upstream = await startUpstream()
    setEnvironmentData('pairs', { journal: join(folder, 'journal'), upstream: (upstream.address() as net.AddressInfo).port })
    const secure = { cert: pem('first'), key: pem('first-key') }
    const proxyProtocol = { from: ['127.0.0.1'] }
    const host = '127.0.0.1'
    const server = await serve({
      app: app('pairs'),
      listen: [
        { name: 'plain', port: 0, host },
        { name: 'proxied', port: 0, host, proxyProtocol },
        { name: 'secure', port: 0, host, tls: secure },
        { name: 'both', port: 0, host, tls: secure, proxyProtocol },
      ],
      reactors: 2,
      pool: 1,
      logger: silent,
    })
    const pairs = new PairServer(server, folder, upstream)
    for (let i = 0; i < 2; i++) pairs.#bystanders.push(await pairs.#connect([], random, async () => {}))
    return pairs
  }

  async close(): Promise<void> {
    // Those of a cell that has failed.
    for (const subject of this.#subjects) subject.destroy()
    await this.server.close()
    this.#upstream.close()
    await once(this.#upstream, 'close')
    rmSync(this.#folder, { recursive: true })
  }

  /** Both features on one connection; everything that must hold of it. */
  async run(pair: readonly [Feature, Feature], order: Order, outcome: Outcome, random: Random): Promise<void> {
    this.trace = []
    writeFileSync(this.#journal, '')
    const before = this.server.stats().connections.closed
    const features = order === 'second' ? ([pair[1], pair[0]] as const) : pair
    const cell = new Cell(this.server, features, order, random, this.trace)
    // A handshake or a header is under way while the other feature comes, where that one needs no hook.
    const early = isTransport(features[1]) && isOfServer(features[0]) ? features[0] : undefined
    const subject = await this.#connect(pair, random, async () => {
      if (early) await cell.change(early, this.#bystanders[0]!)
    })
    await cell.run(subject, early)
    await subject.leave()
    await cell.settled()

    expect(subject.wrong, 'bytes').to.deep.equal([])
    await this.#expectBystandersServed()
    const { connections } = await statsOnce(this.server, isQuiet)
    const closed = Object.entries(connections.closed) as [CloseReason, number][]
    const sum = closed.reduce((total, [, count]) => total + count, 0)
    expect(connections.accepted + connections.connected, 'counters').to.equal(connections.open + sum)
    const journal = await this.#journalOf(subject, !cell.wasCut || !cell.hasDied)
    expectHooksInOrder(subject, journal)
    // Without its close hook the reason is one that has been counted; behind a pipe the other end has one, too.
    const reasons = closed.filter(([reason, count]) => count > before[reason]).map(([reason]) => reason)
    const told = closesOf(journal)[0]?.slice('close '.length)
    if (told) expect(reasons, 'the reason of the close hook').to.include(told)
    if (!cell.wasCut && told) expect(told).to.equal('end')
    const fate = cell.wasCut ? (told ?? reasons.find((reason) => reason !== 'end') ?? reasons[0]) : 'served'
    const answered = `${subject.answers.length} of ${subject.asked} answered`
    expect(outcome.fates, `what became of a connection (${answered}; ${reasons.join(', ')})`).to.include(fate)
    if (order !== 'at once') expect(cell.refused, 'refused').to.deep.equal(outcome.refused)
    expect(this.errors, 'error events').to.deep.equal([])
  }

  async #connect(pair: readonly Feature[], random: Random, meanwhile: () => Promise<unknown>): Promise<Subject> {
    const secure = pair.includes('TLS')
    const proxied = pair.includes('PROXY')
    const name = secure ? (proxied ? 'both' : 'secure') : proxied ? 'proxied' : 'plain'
    const subject = await Subject.connect({
      port: this.server.listeners.find((listener) => listener.name === name)!.port!,
      secure,
      proxied: proxied ? this.#nextProxied++ : undefined,
      random,
      // A pipe refuses connections with frames in the pool, and says so; that is a test of its own.
      pool: !pair.includes('pipe'),
      meanwhile,
    })
    this.#subjects.push(subject)
    return subject
  }

  async #expectBystandersServed(): Promise<void> {
    for (const bystander of this.#bystanders) {
      await bystander.talk(1)
      await bystander.answered()
      expect(bystander.wrong).to.deep.equal([])
      expect(bystander.answers.length, 'answers of a connection that nothing was done to').to.equal(bystander.asked)
    }
  }

  /** What its hooks have noted; with their end, which comes a moment after it was counted, unless a dead thread has taken it along. */
  async #journalOf(subject: Subject, mustClose: boolean): Promise<string[]> {
    for (;;) {
      const lines = readFileSync(this.#journal, 'utf8').split('\n')
      const own = lines.filter((line) => line.startsWith(`${subject.name} `)).map((line) => line.slice(subject.name.length + 1))
      if (!mustClose || own.length === 0 || closesOf(own).length > 0) return own
      await turn()
    }
  }
}

function closesOf(journal: readonly string[]): string[] {
  return journal.filter((line) => line.startsWith('close '))
}

/** Only the two bystanders are open, and nothing is held for anybody. */
function isQuiet({ connections, queue, memory }: ServerStats): boolean {
  const held = queue.tasks + queue.frames + queue.bytes + memory.buffered + memory.tasks + memory.messages
  return connections.open === 2 && held === 0
}

function expectHooksInOrder(subject: Subject, journal: readonly string[]): void {
  if (journal.length === 0) return
  expect(journal[0], 'the first hook').to.equal('open')
  expect(journal.filter((line) => line === 'open').length, 'open hooks').to.equal(1)
  const messages = journal.filter((line) => line.startsWith('message '))
  const inOrder = messages.map((_, i) => `message ${subject.name}.${i}`)
  expect(messages, 'frames, each once and in order').to.deep.equal(inOrder)
  expect(closesOf(journal).length, 'close hooks').to.be.at.most(1)
  if (closesOf(journal).length === 1) expect(journal.at(-1), 'the last hook').to.match(/^close /)
}

/** One connection on its way through two features. */
class Cell {
  hasDied = false
  wasCut = false
  readonly refused: Feature[] = []
  readonly #server: Server
  readonly #features: readonly Feature[]
  readonly #order: Order
  readonly #random: Random
  readonly #trace: string[]
  readonly #under: Promise<unknown>[] = []
  readonly #reloads: Promise<unknown>[] = []
  readonly #pauses: number[] = []
  /** Features that keep a later frame from being read, or its answer from being seen. */
  #isBlocked = false
  #isPiped = false
  #isSubscribed = false
  /** Its end was asked for, so that later calls find no connection. */
  #hasEnded = false
  #promised = 0
  #published = 0
  #subject!: Subject

  constructor(server: Server, features: readonly Feature[], order: Order, random: Random, trace: string[]) {
    this.#server = server
    this.#features = features
    this.#order = order
    this.#random = random
    this.#trace = trace
  }

  async run(subject: Subject, done: Feature | undefined): Promise<void> {
    this.#subject = subject
    const waits = this.#order !== 'at once'
    await subject.talk(2)
    if (waits) {
      await subject.answered()
      for (const feature of this.#features) {
        if (feature !== done) await this.#act(feature, true)
        await subject.talk(2)
        // Behind an answer of the other end, so that it is seen whether it comes in the middle of that one's bytes.
        if (this.#isPiped && !this.#isBlocked) await subject.answered()
        if (this.#isSubscribed) await this.#publish()
      }
    } else {
      const act = async (feature: Feature) => {
        for (let turns = this.#random.below(20); turns > 0; turns--) await turn()
        await this.#act(feature, false)
      }
      const talk = async () => {
        for (let i = 0; i < 6; i++) {
          await subject.talk(1)
          if (this.#isSubscribed) await this.#publish()
        }
      }
      // Frames are written one at a time: a piece of one must not come into another.
      await Promise.all([...this.#features.map(act), talk()])
    }
    await this.#finish()
  }

  /** What began with the features and goes on behind the connection's end: a reload that waits for it. */
  async settled(): Promise<void> {
    await Promise.all([...this.#under, ...this.#reloads])
  }

  /** A reload, or the death of the thread that `of` is on. */
  async change(feature: Feature, of: Subject): Promise<void> {
    this.#note(feature)
    if (feature === 'death') {
      this.hasDied = true
      this.#note(await callAt(this.#server, of, 'death'))
      return
    }
    const reload = this.#server.reload({ timeoutMs: 60_000 })
    this.#reloads.push(reload)
    // Connections with TLS stay with their thread, and the reload waits for them.
    if (!this.#features.includes('TLS')) await reload
  }

  async #act(feature: Feature, waits: boolean): Promise<void> {
    const subject = this.#subject
    if (isTransport(feature) || subject.over) return
    if (isOfServer(feature)) {
      const change = this.change(feature, subject)
      this.#under.push(change)
      if (waits) await change
      return
    }
    if (feature === 'backpressure') {
      this.#note(feature)
      await subject.stopReading()
      // As much as this system's buffers want.
      if (waits && !this.#isBlocked && !this.#hasEnded) {
        while ((await callAt(this.#server, subject, 'waits')) === 'not yet') await subject.askMore()
      }
      this.#isBlocked = true
      return
    }
    if (feature === 'own death') this.hasDied = true
    const told = this.#isTold(feature, waits) ? this.#tell(feature, waits) : this.#call(feature)
    this.#under.push(told)
    if (waits) await told
    if (feature === 'pause') this.#isBlocked = true
    if (feature === 'end' || feature === 'own death') this.#hasEnded = true
  }

  /** By a frame, so that it has its place among the others; or by a call, where no frame would come to a hook or be answered. */
  #isTold(feature: Feature, waits: boolean): boolean {
    // Its new framing begins behind a frame, and it is the hook of a frame that ends the thread.
    if (feature === 'own death') return true
    if (feature === 'setFraming') return !(waits && this.#isPiped)
    // The thread that a reload has replaced gets no calls, and keeps connections with TLS.
    if (this.#features.includes('TLS') && this.#features.includes('reload')) return true
    return waits ? !this.#isBlocked && !this.#isPiped : this.#random.below(2) === 0
  }

  async #call(feature: Feature): Promise<void> {
    this.#note(`${feature} by a call`)
    this.#came(feature, await callAt(this.#server, this.#subject, feature))
  }

  async #tell(feature: Feature, waits: boolean): Promise<void> {
    this.#note(`${feature} by a frame`)
    const number = await this.#subject.tell(feature)
    if (feature === 'pause') this.#pauses.push(number)
    if (!waits || this.#isBlocked) return
    await this.#subject.answered(number + 1)
    this.#came(feature, this.#subject.answers[number]?.says ?? 'unanswered')
  }

  #came(feature: Feature, says: string): void {
    this.#note(`${feature}: ${says}`)
    if (!expectedWords.test(says)) this.#subject.wrong.push(`${feature}: ${says}`)
    if (says === 'refused ERR_MR_STATE') this.refused.push(feature)
    if (feature === 'publish' && says === 'did') this.#isSubscribed = true
    if (feature === 'pipe' && says === 'did') this.#isPiped = true
  }

  async #publish(): Promise<void> {
    const number = this.#published++
    const topic = `topic ${this.#subject.name}`
    const reached = await this.#server.publish(topic, `publication ${this.#subject.name} ${number}\n`)
    this.#note(`reached ${reached}`)
    if (this.#hasEnded || this.#features.includes('pipe')) return
    // One that is on its way to another reactor gets it there, and is not counted.
    if (!this.#features.includes('moveTo')) expect(reached, 'subscribers reached').to.equal(1)
    this.#promised++
  }

  /** Takes back what holds the connection up, and sees whether its last request is answered. */
  async #finish(): Promise<void> {
    const subject = this.#subject
    subject.readAgain()
    await Promise.all(this.#under)
    this.#note('readable')
    const isFirst = this.#order !== 'at once' && this.#features[0] === 'pause'
    if (isFirst && this.#features[1] !== 'pipe') {
      expect(subject.answers.length, 'answers of a paused connection').to.equal(this.#pauses[0]! + 1)
    }
    // A pipe ends the pauses before it.
    if (this.#features.includes('pause') && !(isFirst && this.#features[1] === 'pipe')) {
      await this.#resume()
      for (const number of this.#pauses) {
        await subject.answered(number + 1)
        await this.#resume()
      }
    }
    await subject.talk(1)
    await subject.answered()
    this.#note('answered')
    this.wasCut = subject.answers.length < subject.asked
    await subject.until(() => subject.over || subject.publications >= this.#promised)
  }

  async #resume(): Promise<void> {
    this.#note(`resume: ${await callAt(this.#server, this.#subject, 'resume')}`)
  }

  #note(what: string): void {
    this.#trace.push(what)
  }
}
