import { once } from 'node:events'
import net from 'node:net'
import { Client } from './client.js'
import type { Random } from './random.js'

/** One request line, and the bytes that answer it. */
export interface Ask {
  line: string
  reply: string
}

export interface CrowdPlan {
  /** Those that connect, talk and leave, again and again. */
  visitors: number
  /** Those that stay connected. */
  residents: number
  ask: (token: string, random: Random) => Ask
  random: Random
}

const hosts = 8 // of 127/8, so that the crowd does not run out of its own ports

class WrongBytes extends Error {}

/** Clients that all check every byte they get: pipelined requests, whole and in pieces, on connections that stay or come and go. */
export class Crowd {
  readonly failures: string[] = []
  /** Those of the failures that are not merely the end of a connection: bytes that should not have come. */
  readonly wrong: string[] = []
  visits = 0
  answered = 0
  readonly #port: number
  readonly #plan: CrowdPlan
  readonly #done: Promise<unknown>
  #stopping = false
  #wake: (() => void)[] = []

  constructor(port: number, plan: CrowdPlan) {
    this.#port = port
    this.#plan = plan
    const visitors = Array.from({ length: plan.visitors }, (_, i) => this.#visitor(`v${i}`))
    const residents = Array.from({ length: plan.residents }, (_, i) => this.#resident(`r${i}`))
    this.#done = Promise.all([...visitors, ...residents])
  }

  /** Resolves after so many more answers. */
  async answers(count: number): Promise<void> {
    const until = this.answered + count
    while (this.answered < until) await new Promise<void>((resolve) => this.#wake.push(resolve))
  }

  /** Lets all clients finish their current work, and leave. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#done
  }

  async #visitor(name: string): Promise<void> {
    for (let visit = 0; !this.#stopping; visit++) {
      await this.#guard(`${name}, visit ${visit}`, async (client) => {
        const rounds = 1 + this.#plan.random.below(3)
        for (let round = 0; round < rounds; round++) await this.#talk(client, `${name}.${visit}.${round}`)
      })
      this.visits++
    }
  }

  async #resident(name: string): Promise<void> {
    // One that was cut off has said so, and comes again.
    while (!this.#stopping) {
      await this.#guard(name, async (client) => {
        for (let round = 0; !this.#stopping; round++) await this.#talk(client, `${name}.${round}`)
      })
    }
  }

  async #guard(who: string, work: (client: Client) => Promise<void>): Promise<void> {
    let client: Client | undefined
    try {
      const host = `127.0.0.${1 + this.#plan.random.below(hosts)}`
      const socket = net.connect({ port: this.#port, host, noDelay: true })
      await once(socket, 'connect')
      client = new Client(socket)
      await work(client)
      socket.end()
      await client.untilClosed()
      if (client.error) throw client.error
      if (client.received.length !== 0) throw new WrongBytes(`${client.received.length} bytes too many`)
    } catch (error) {
      const { message } = error as Error
      if (error instanceof WrongBytes) this.wrong.push(`${who}: ${message}`)
      this.failures.push(`${who}: ${client?.error?.message ?? message}`)
      client?.destroy()
    }
  }

  /** A few requests, written in pieces that end anywhere; all answers must come, in order. */
  async #talk(client: Client, name: string): Promise<void> {
    const { ask, random } = this.#plan
    const asks = Array.from({ length: 1 + random.below(8) }, (_, i) => ask(`${name}.${i}`, random))
    const text = asks.map(({ line }) => `${line}\n`).join('')
    for (let at = 0; at < text.length; ) {
      const end = random.below(2) === 0 ? text.length : at + 1 + random.below(text.length - at)
      client.write(text.slice(at, end))
      at = end
      if (at < text.length) await new Promise(setImmediate)
    }
    const expected = asks.map(({ reply }) => reply).join('')
    const cut = await client.until(({ received }) => received.length >= expected.length).catch((error: Error) => error)
    // Also of a connection that was cut: the received bytes are the beginning of the expected ones.
    const got = client.received.toString('latin1', 0, expected.length)
    if (!expected.startsWith(got)) throw new WrongBytes(`${JSON.stringify(got)} instead of ${JSON.stringify(expected)}`)
    if (cut) throw cut
    client.received = client.received.subarray(expected.length)
    this.answered += asks.length
    for (const wake of this.#wake.splice(0)) wake()
  }
}
