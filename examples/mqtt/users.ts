// The users that may connect. A file has one line for each user: a name, a colon, and the SHA-256 of a token, in hex. `node new_user.js NAME`
// makes one. A token is random, so its hash needs no salt and no slow function: this is not for passwords that people think of.
import { createHash, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'

const line = /^([^:\s]+):([0-9a-f]{64})$/

export class Users {
  readonly #hashes = new Map<string, Buffer>()

  /** Throws for a line that is not as above. */
  constructor(file: string) {
    for (const [i, text] of readFileSync(file, 'utf8').split('\n').entries()) {
      if (text.trim() === '') continue
      const [, name, hash] = line.exec(text.trim()) ?? []
      if (!name || !hash) throw new Error(`${file}:${i + 1}: must be NAME:SHA256, as \`node new_user.js NAME\` prints it`)
      this.#hashes.set(name, Buffer.from(hash, 'hex'))
    }
  }

  knows(name: string | undefined, token: Buffer | undefined): boolean {
    const expected = this.#hashes.get(name ?? '')
    const given = createHash('sha256')
      .update(token ?? '')
      .digest()
    return timingSafeEqual(given, expected ?? Buffer.alloc(32)) && expected !== undefined
  }
}
