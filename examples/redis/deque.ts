/** A list with two ends that are equally near, for LPUSH and RPOP. */
export class Deque {
  #ring: (string | undefined)[] = new Array(16)
  #first = 0
  length = 0

  get(i: number): string {
    return this.#ring[(this.#first + i) & (this.#ring.length - 1)]!
  }

  pushLeft(value: string): void {
    this.#grow()
    this.#first = (this.#first - 1) & (this.#ring.length - 1)
    this.#ring[this.#first] = value
    this.length++
  }

  pushRight(value: string): void {
    this.#grow()
    this.#ring[(this.#first + this.length++) & (this.#ring.length - 1)] = value
  }

  popLeft(): string {
    const value = this.#ring[this.#first]!
    this.#ring[this.#first] = undefined
    this.#first = (this.#first + 1) & (this.#ring.length - 1)
    this.length--
    return value
  }

  popRight(): string {
    const at = (this.#first + --this.length) & (this.#ring.length - 1)
    const value = this.#ring[at]!
    this.#ring[at] = undefined
    return value
  }

  #grow(): void {
    if (this.length < this.#ring.length) return
    const all = Array.from({ length: this.length }, (_, i) => this.get(i))
    this.#ring = all.concat(new Array(all.length))
    this.#first = 0
  }
}
