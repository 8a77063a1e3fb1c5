/** The part of a connection that a room uses. */
export interface Member {
  write(bytes: Buffer): boolean
}

export interface Player {
  name: string
  x: number
  y: number
  /** Of the last `go`: at most one step in each direction, made at the next tick. */
  dx: number
  dy: number
}

export const size = 100

/** One room: a field of `size` by `size`. All of its members are connections of one reactor, so a tick needs no other thread. */
export class Room {
  readonly #players = new Map<Member, Player>()
  /** Members with unread states: they miss further ones until they have read them. */
  readonly #slow = new Set<Member>()
  #changed = true

  get isEmpty(): boolean {
    return this.#players.size === 0
  }
  get players(): number {
    return this.#players.size
  }

  hasName(name: string): boolean {
    for (const player of this.#players.values()) if (player.name === name) return true
    return false
  }

  add(member: Member, player: Player): void {
    this.#players.set(member, player)
    this.#changed = true
  }

  remove(member: Member): void {
    this.#players.delete(member)
    this.#slow.delete(member)
    this.#changed = true
  }

  /** The member reads again: it gets the state of the next tick. */
  drained(member: Member): void {
    this.#slow.delete(member)
    this.#changed = true
  }

  /** Moves all members and sends them the state, encoded once. A tick without a change sends nothing. */
  tick(): void {
    for (const player of this.#players.values()) {
      if (player.dx === 0 && player.dy === 0) continue
      player.x = clamp(player.x + player.dx)
      player.y = clamp(player.y + player.dy)
      player.dx = player.dy = 0
      this.#changed = true
    }
    if (!this.#changed) return
    this.#changed = false
    const players = [...this.#players.values()].map(({ name, x, y }) => ({ name, x, y }))
    const state = Buffer.from(`${JSON.stringify({ type: 'state', players })}\n`)
    for (const member of this.#players.keys()) {
      // An old state is worth nothing: a slow member gets none, instead of a queue of them.
      if (!this.#slow.has(member) && !member.write(state)) this.#slow.add(member)
    }
  }
}

const clamp = (value: number): number => Math.max(0, Math.min(size - 1, value))
