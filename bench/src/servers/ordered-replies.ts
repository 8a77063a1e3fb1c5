interface Slot {
  reply: string | undefined
}

/** Promised replies leave in the order they were asked for, whichever settles first. */
export class OrderedReplies {
  readonly #write: (bytes: string) => void
  readonly #slots: Slot[] = []

  constructor(write: (bytes: string) => void) {
    this.#write = write
  }

  add(promise: Promise<string>): void {
    const slot: Slot = { reply: undefined }
    this.#slots.push(slot)
    promise.then((reply) => {
      slot.reply = reply
      if (slot === this.#slots[0]) this.#flush()
    })
  }

  #flush(): void {
    let settled = 0
    let bytes = ''
    for (const { reply } of this.#slots) {
      if (reply === undefined) break
      bytes += reply
      settled++
    }
    this.#slots.splice(0, settled)
    this.#write(bytes)
  }
}
