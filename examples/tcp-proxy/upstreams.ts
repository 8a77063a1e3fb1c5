import type { ConnectTarget, ReactorHandle } from 'multireactor'

export type Choice = 'round-robin' | 'least-connections'

/** One server behind the proxy, as this thread sees it. */
export class Upstream {
  readonly target: ConnectTarget
  readonly #name: string
  /** Connections that this thread has to it, those under way included. */
  open = 0
  healthy = true

  /** `host:port`, `[address]:port`, or the path of a Unix socket. */
  constructor(name: string) {
    this.#name = name
    const [, host, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(name)?.filter((part) => part !== undefined) ?? []
    this.target = name.startsWith('/') ? { path: name } : { host: host ?? name, port: Number(port) }
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
}

export class Upstreams {
  readonly #all: Upstream[]
  readonly #choice: Choice
  readonly #most: number
  #next = 0
  #timer: NodeJS.Timeout | undefined

  /** `most`: connections of one upstream, of this thread. */
  constructor(names: readonly string[], choice: Choice, most: number) {
    this.#all = names.map((name) => new Upstream(name))
    this.#choice = choice
    this.#most = most
  }

  /**
   * The next one to try. Those whose last check failed come last: when all have failed the check may be wrong, and trying costs
   * little. Undefined when all have been tried or are full.
   */
  choose(tried: ReadonlySet<Upstream>): Upstream | undefined {
    const free = this.#all.filter((upstream) => !tried.has(upstream) && upstream.open < this.#most)
    const healthy = free.filter((upstream) => upstream.healthy)
    const candidates = healthy.length > 0 ? healthy : free
    // Also where the fewest decide: among equals it goes round.
    const first = candidates[this.#next++ % candidates.length]
    if (this.#choice === 'round-robin' || !first) return first
    return candidates.reduce((least, other) => (other.open < least.open ? other : least), first)
  }

  /** Connects to each of them now and then: who accepts is healthy. */
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
