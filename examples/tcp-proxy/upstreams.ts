import type { ClientHandlers, ConnectTarget, ReactorHandle } from 'multireactor'
import type { Choice, UpstreamAddress } from './settings.js'

/** One server behind the proxy, as this thread sees it. */
export class Upstream {
  readonly target: ConnectTarget
  /** Of each connection to it: one object for all, which is made once. */
  readonly handlers: ClientHandlers<undefined> = { close: () => void this.open--, idleTimeoutMs: 0 }
  readonly #name: string
  readonly #full = new LimitedLine()
  /** Connections that this thread has to it, those under way included. */
  open = 0
  healthy = true

  constructor({ name, target }: UpstreamAddress) {
    this.#name = name
    this.target = target
  }

  up(): void {
    if (!this.healthy) console.log(`${this.#name} is up`)
    this.healthy = true
  }

  down(error: unknown): void {
    const code = (error as { cause?: { code?: string } }).cause?.code ?? String(error)
    if (this.healthy) console.log(`${this.#name} is down: ${code}`)
    this.healthy = false
  }

  full(most: number): void {
    this.#full.say((more) => `${this.#name} is full: ${most} connections of this reactor${more}`)
  }
}

/** A line that a peer can bring about as often as it likes: once in ten seconds, with the number of events meanwhile. */
class LimitedLine {
  static readonly #everyMs = 10_000
  #next = 0
  #unsaid = 0

  say(line: (more: string) => string): void {
    const now = performance.now()
    if (now < this.#next) {
      this.#unsaid++
      return
    }
    console.log(line(this.#unsaid === 0 ? '' : ` (and ${this.#unsaid} times before)`))
    this.#next = now + LimitedLine.#everyMs
    this.#unsaid = 0
  }
}

export class Upstreams {
  readonly #all: Upstream[]
  readonly #choice: Choice
  readonly #most: number
  readonly #refused = new LimitedLine()
  #next = 0
  #timer: NodeJS.Timeout | undefined

  /** `most`: connections of one upstream, of this thread. */
  constructor(addresses: readonly UpstreamAddress[], choice: Choice, most: number) {
    this.#all = addresses.map((address) => new Upstream(address))
    this.#choice = choice
    this.#most = most
  }

  /**
   * The next one to try. Those whose last check failed come last: when all have failed the check may be wrong, and trying costs
   * little. Undefined when all have been tried or are full.
   */
  choose(tried: readonly Upstream[]): Upstream | undefined {
    const all = this.#all.length
    // Behind the last one; also where the fewest decide: among equals it goes round.
    const first = this.#next
    let chosen: Upstream | undefined
    for (let i = first; i < first + all; i++) {
      const upstream = this.#all[i % all]!
      if (tried.includes(upstream)) continue
      if (upstream.open >= this.#most) {
        upstream.full(this.#most)
      } else if (chosen === undefined || this.#isBetter(upstream, chosen)) {
        chosen = upstream
        this.#next = (i + 1) % all
      }
    }
    return chosen
  }

  #isBetter(one: Upstream, other: Upstream): boolean {
    if (one.healthy !== other.healthy) return one.healthy
    return this.#choice === 'least-connections' && one.open < other.open
  }

  /** Reports clients that were closed because no upstream took them. */
  tellRefused(): void {
    this.#refused.say((more) => `a client was closed: no upstream could be reached, or all are full${more}`)
  }

  /** Connects to each of them now and then: an upstream that accepts is healthy. */
  watch(reactor: ReactorHandle, everyMs: number, timeoutMs: number): void {
    this.#timer = setInterval(() => {
      for (const upstream of this.#all) void check(reactor, upstream, timeoutMs)
    }, everyMs)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

async function check(reactor: ReactorHandle, upstream: Upstream, timeoutMs: number): Promise<void> {
  try {
    const conn = await reactor.connect(upstream.target, {}, { timeoutMs })
    conn.destroy()
    upstream.up()
  } catch (error) {
    // The proxy's own state says nothing about the upstream.
    if ((error as { code?: string }).code === 'ERR_MR_CONNECT') upstream.down(error)
  }
}
