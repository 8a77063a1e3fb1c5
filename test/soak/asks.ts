import type { Ask } from '../support/crowd.js'
import type { Random } from '../support/random.js'

/** Answered by a hook, by the pool at once, by the pool after a while, or in parts. */
export function ask(token: string, random: Random): Ask {
  const parts = 1 + random.below(6)
  const streamed = Array.from({ length: parts }, (_, i) => `${token}.${i}\n`).join('')
  switch (random.below(6)) {
    case 0:
    case 1:
      return { line: `inline ${token}`, reply: `${token}\n` }
    case 2:
      return { line: `late ${random.below(30)} ${token}`, reply: `${token}\n` }
    case 3:
      return { line: `stream ${parts} ${token}`, reply: streamed }
    case 4:
      return { line: `iterate ${parts} ${token}`, reply: streamed }
    default:
      return { line: `echo ${token}`, reply: `${token}\n` }
  }
}
