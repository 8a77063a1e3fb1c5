import type { Deque } from './deque.ts'

export type Value = string | Deque | Map<string, string> | Set<string>

/** How often keys that have run out are looked for, and how many are looked at then. */
const sweepEveryMs = 100
const sweptAtOnce = 200
/** Scans that are under way. One that was forgotten begins anew, which SCAN allows: it may name a key twice. */
const mostScans = 256

/** The keys of one reactor. Strings have one character for each byte. */
export class Database {
  readonly #values = new Map<string, Value>()
  readonly #expires = new Map<string, number>()
  readonly #scans = new Map<number, IterableIterator<string>>()
  #lastScan = 0
  #sweeper: NodeJS.Timeout | undefined
  #swept: IterableIterator<[string, number]> | undefined

  /** Expired keys that are not read are removed, too. */
  start(): void {
    this.#sweeper = setInterval(() => this.#sweep(), sweepEveryMs).unref()
  }

  stop(): void {
    clearInterval(this.#sweeper)
  }

  get size(): number {
    return this.#values.size
  }

  get(key: string): Value | undefined {
    if (this.#expires.size !== 0) this.#expire(key)
    return this.#values.get(key)
  }

  /** Keeps the time that the key has left. */
  put(key: string, value: Value): void {
    this.#values.set(key, value)
  }

  set(key: string, value: Value): void {
    this.#values.set(key, value)
    if (this.#expires.size !== 0) this.#expires.delete(key)
  }

  delete(key: string): boolean {
    if (this.get(key) === undefined) return false
    this.#expires.delete(key)
    return this.#values.delete(key)
  }

  clear(): void {
    this.#values.clear()
    this.#expires.clear()
  }

  /** The moment in which it is gone, in ms since 1970. */
  expiresAt(key: string): number | undefined {
    return this.#expires.get(key)
  }

  expireAt(key: string, ms: number): void {
    if (ms <= Date.now()) this.delete(key)
    else this.#expires.set(key, ms)
  }

  persist(key: string): boolean {
    return this.#expires.delete(key)
  }

  get expiring(): number {
    return this.#expires.size
  }

  keys(): string[] {
    return [...this.#values.keys()].filter((key) => this.get(key) !== undefined)
  }

  /**
   * The next keys of a scan; `cursor` 0 begins one, and `next` 0 ends it. An iterator of a Map goes on while keys are set or deleted
   * so that keys which stay are met.
   */
  scan(cursor: number, count: number): { next: number; keys: string[] } {
    const iterator = this.#scans.get(cursor) ?? this.#values.keys()
    this.#scans.delete(cursor)
    const keys: string[] = []
    for (let i = 0; i < count; i++) {
      const next = iterator.next()
      if (next.done) return { next: 0, keys }
      if (this.get(next.value) !== undefined) keys.push(next.value)
    }
    this.#scans.set(++this.#lastScan, iterator)
    if (this.#scans.size > mostScans) this.#scans.delete(this.#scans.keys().next().value!)
    return { next: this.#lastScan, keys }
  }

  #expire(key: string): void {
    const at = this.#expires.get(key)
    if (at === undefined || at > Date.now()) return
    this.#expires.delete(key)
    this.#values.delete(key)
  }

  #sweep(): void {
    for (let i = 0; i < sweptAtOnce && this.#expires.size !== 0; i++) {
      this.#swept ??= this.#expires.entries()
      const next = this.#swept.next()
      if (next.done) {
        this.#swept = undefined
        return
      }
      this.#expire(next.value[0])
    }
  }
}
