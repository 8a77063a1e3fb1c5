import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import { proxyHeader, type Server } from '@multireactor/core'
import type { Random } from './random.js'

export const features = [
  'pipe',
  'TLS',
  'PROXY',
  'reload',
  'moveTo',
  'setFraming',
  'pause',
  'end',
  'backpressure',
  'publish',
  'death',
  'own death',
] as const
export type Feature = (typeof features)[number]

const ca = readFileSync(new URL('../../existing/certificates/ca.pem', import.meta.url))
const bigBytes = 256 << 10
const bigAnswers = 20

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Bytes of requests, cut as the framing in force says. A length begins with a zero byte, a line does not: the upstream tells them apart. */
function encoded(text: string, framed: boolean): Buffer {
  if (!framed) return Buffer.from(`${text}\n`)
  const bytes = Buffer.alloc(4 + text.length)
  bytes.writeUInt32BE(text.length)
  bytes.write(text, 4)
  return bytes
}

/** What piped connections lead to: it answers as the app does, under a name of its own. */
export async function startUpstream(): Promise<net.Server> {
  const upstream = net.createServer((socket) => {
    let rest: Buffer = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => {
      rest = Buffer.concat([rest, bytes])
      for (;;) {
        const framed = rest[0] === 0
        const begin = framed ? 4 : 0
        const end = framed ? (rest.length < 4 ? -1 : 4 + rest.readUInt32BE()) : rest.indexOf(10)
        if (rest.length === 0 || end < 0 || end > rest.length) return
        const [verb, token, ...words] = rest.toString('latin1', begin, end).split(' ')
        rest = rest.subarray(framed ? end : end + 1)
        socket.write(`up ${token} ${verb === 'do' ? 'passed' : 'x'.repeat(Number(words[0]))}\n`)
      }
    })
  })
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  return upstream
}

interface Request {
  /** What its answer says behind the token; undefined where the app decides. */
  says: string | undefined
  feature?: Feature
}

/** One client connection, which checks each byte that it gets against what it has asked. */
export class Subject {
  readonly name: string
  readonly wrong: string[] = []
  readonly answers: { by: string; says: string }[] = []
  publications = 0
  over = false
  readonly #requests: Request[] = []
  readonly #random: Random
  readonly #socket: net.Socket
  readonly #pool: boolean
  #framed = false
  #asking = Promise.resolve(0)
  #parts: string[] = []
  #lastPublication = -1
  #wake: (() => void)[] = []

  private constructor(name: string, socket: net.Socket, random: Random, pool: boolean) {
    this.name = name
    this.#socket = socket
    this.#random = random
    this.#pool = pool
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => this.#received(text))
    socket.on('error', () => {})
    socket.on('end', () => this.#isOver())
    socket.on('close', () => this.#isOver())
  }

  /** `meanwhile` happens between the two halves of what comes before the first byte of the protocol. */
  static async connect(plan: {
    port: number
    secure: boolean
    /** The port that the PROXY header names. */
    proxied: number | undefined
    random: Random
    pool: boolean
    meanwhile: () => Promise<unknown>
  }): Promise<Subject> {
    const socket = net.connect({ port: plan.port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    const name = String(plan.proxied ?? socket.localPort)
    const end = (port: number) => ({ address: '192.0.2.1', port })
    const header =
      plan.proxied === undefined ? undefined : proxyHeader({ version: 2, source: end(plan.proxied), destination: end(1) })
    if (header) socket.write(header.subarray(0, 20))
    if (!plan.secure) {
      await plan.meanwhile()
      if (header) socket.write(header.subarray(20))
      return new Subject(name, socket, plan.random, plan.pool)
    }
    if (header) socket.write(header.subarray(20))
    await plan.meanwhile()
    const secured = tls.connect({ socket, ca, servername: 'first.example' })
    const subject = new Subject(name, secured, plan.random, plan.pool)
    await Promise.race([once(secured, 'secureConnect').catch(() => {}), subject.until(() => subject.over)])
    return subject
  }

  get asked(): number {
    return this.#requests.length
  }

  /** Sends a few requests, in pieces that end anywhere. */
  async talk(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const size = this.#random.below(this.#random.below(8) === 0 ? 5_000 : 100)
      await this.#ask(this.#pool && this.#random.below(3) === 0 ? 'pool' : 'talk', { says: 'x'.repeat(size) }, String(size))
    }
  }

  /** Carries out a feature by a frame; returns the number of its answer. */
  tell(feature: Feature): Promise<number> {
    return this.#ask('do', { says: undefined, feature }, feature)
  }

  /** Reads no more, and asks for more than most systems hold on the way. */
  async stopReading(): Promise<void> {
    this.#socket.pause()
    for (let i = 0; i < bigAnswers; i++) await this.askMore()
  }

  askMore(): Promise<number> {
    return this.#ask('talk', { says: 'x'.repeat(bigBytes) }, String(bigBytes))
  }

  readAgain(): void {
    this.#socket.resume()
  }

  answered(count = this.asked): Promise<void> {
    return this.until(() => this.answers.length >= count || this.over)
  }

  async until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise<void>((resolve) => this.#wake.push(resolve))
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Ends, and sees the end of the server. */
  async leave(): Promise<void> {
    this.#socket.end()
    await this.until(() => this.over)
    const left = this.#parts.join('')
    if (left !== '' && !this.#next(left)?.startsWith(left)) this.wrong.push(`ends in ${shown(left)}`)
    if (!this.#socket.destroyed) this.#socket.destroy()
    if (!this.#socket.closed) await once(this.#socket, 'close')
  }

  /** One at a time: a piece of a frame must not come into another one. */
  #ask(verb: string, request: Request, words: string): Promise<number> {
    this.#asking = this.#asking.then(async () => {
      const number = this.asked
      const bytes = encoded(`${verb} ${this.name}.${number} ${words}`, this.#framed)
      if (request.feature === 'setFraming') this.#framed = !this.#framed
      this.#requests.push(request)
      if (this.over) return number
      const cut = this.#random.below(3) === 0 ? this.#random.below(bytes.length) : 0
      if (cut > 0) {
        this.#socket.write(bytes.subarray(0, cut))
        await turn()
      }
      this.#socket.write(bytes.subarray(cut))
      return number
    })
    return this.#asking
  }

  #received(text: string): void {
    const pieces = text.split('\n')
    for (const [i, piece] of pieces.entries()) {
      this.#parts.push(piece)
      if (i === pieces.length - 1) break
      this.#line(this.#parts.join(''))
      this.#parts = []
    }
    this.#wakeAll()
  }

  #line(line: string): void {
    if (line.startsWith('publication ')) {
      const [, name, number] = line.split(' ')
      // Not again, not out of order, and not in what comes from the other end of a pipe.
      const fits = name === this.name && Number(number) > this.#lastPublication && this.answers.at(-1)?.by !== 'up'
      if (!fits) this.wrong.push(`got ${shown(line)}`)
      this.#lastPublication = Number(number)
      this.publications++
      return
    }
    const number = this.answers.length
    const request = this.#requests[number]
    const [by, token, ...words] = line.split(' ')
    const says = words.join(' ')
    const fits =
      request &&
      (request.says === undefined
        ? /^(did|gone|passed|refused ERR_MR_(STATE|CONNECTION_CLOSED))$/.test(says)
        : says === request.says)
    if (token !== `${this.name}.${number}` || !fits) this.wrong.push(`got ${shown(line)} in place ${number} of ${this.asked}`)
    // What follows a pipe comes from its other end.
    if (by !== 'up' && this.answers.at(-1)?.by === 'up') this.wrong.push(`got ${shown(line)} behind an answer of the other end`)
    this.answers.push({ by: by!, says })
  }

  /** A line that `left` may be the beginning of. */
  #next(left: string): string | undefined {
    if ('publication '.startsWith(left) || left.startsWith('publication ')) return left
    const number = this.answers.length
    const request = this.#requests[number]
    if (!request) return undefined
    const lines = ['hook', 'pool', 'up'].map((by) => `${by} ${this.name}.${number} ${request.says ?? ''}`)
    return lines.find((line) => line.startsWith(left) || (request.says === undefined && left.startsWith(line))) && left
  }

  #isOver(): void {
    this.over = true
    this.#wakeAll()
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

function shown(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}… (${text.length})` : text)
}

/** Calls the app's `onCall` on the reactor that has the connection, again where a thread died with the call; 'gone' when it has closed. */
export async function callAt(server: Server, subject: Subject, feature: string): Promise<string> {
  while (!subject.over) {
    for (let reactor = 0; reactor < 2; reactor++) {
      const said = await server.call(reactor, `${subject.name} ${feature}`).then(String, (error: { code?: string }) => {
        if (error.code === 'ERR_MR_THREAD_LOST') return feature === 'death' ? 'did' : 'absent'
        throw error
      })
      if (said !== 'absent') return said
    }
    await turn()
  }
  return 'gone'
}
