// Patterns of KEYS and SCAN. For any input, a match takes at most as many steps as the pattern is long, times the text.

/** Text with one character for each byte. */
export type Text = Pick<string, 'length' | 'charCodeAt'>

const anyCharacter = -1
const anyText = -2
/** The elements of a pattern: a character, one of the two above, or which of 256 characters may stand there. */
type Token = number | Uint8Array

/** Longer patterns are refused: a peer must not make a reactor compare for seconds. */
const longest = 64 << 10

/**
 * Whether a text fits a pattern, as redis-server sees it: `*` is any text, `?` any character, `[abc]`, `[a-z]` and `[^a-z]` one of some, and
 * `\` takes the meaning from the character behind it. Undefined when the pattern is too long.
 */
export function glob(pattern: string): ((text: Text) => boolean) | undefined {
  if (pattern.length > longest) return undefined
  const tokens = tokensOf(pattern)
  const least = tokens.filter((token) => token !== anyText).length
  return (text) => text.length >= least && matches(tokens, text)
}

/** Only the last `*` is tried again: anything that an earlier one could match, the last one can match too. */
function matches(tokens: Token[], text: Text): boolean {
  let at = 0
  let token = 0
  let star = -1
  let taken = 0
  while (at < text.length) {
    const one = tokens[token]
    if (one === anyText) {
      star = token++
      taken = at
    } else if (one !== undefined && fits(one, text.charCodeAt(at))) {
      token++
      at++
    } else if (star >= 0) {
      token = star + 1
      at = ++taken
    } else return false
  }
  while (tokens[token] === anyText) token++
  return token === tokens.length
}

function fits(token: Token, character: number): boolean {
  return typeof token === 'number' ? token === anyCharacter || token === character : token[character] === 1
}

function tokensOf(pattern: string): Token[] {
  const tokens: Token[] = []
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern[at]
    if (character === '*') {
      if (tokens.at(-1) !== anyText) tokens.push(anyText)
    } else if (character === '?') tokens.push(anyCharacter)
    else if (character === '[') {
      const { set, end } = setOf(pattern, at + 1)
      tokens.push(set)
      at = end
    } else {
      if (character === '\\' && at + 1 < pattern.length) at++
      tokens.push(pattern.charCodeAt(at))
    }
  }
  return tokens
}

/** The characters between `[` and `]`, and where the `]` stands. Without one, everything to the end of the pattern is meant. */
function setOf(pattern: string, from: number): { set: Uint8Array; end: number } {
  const isNegated = pattern[from] === '^'
  const set = new Uint8Array(256).fill(isNegated ? 1 : 0)
  const member = isNegated ? 0 : 1
  let at = isNegated ? from + 1 : from
  for (; at < pattern.length && pattern[at] !== ']'; at++) {
    if (pattern[at] === '\\' && at + 1 < pattern.length) set[pattern.charCodeAt(++at)] = member
    else if (pattern[at + 1] === '-' && at + 2 < pattern.length) {
      const ends = [pattern.charCodeAt(at), pattern.charCodeAt(at + 2)]
      set.fill(member, Math.min(...ends), Math.max(...ends) + 1)
      at += 2
    } else set[pattern.charCodeAt(at)] = member
  }
  return { set, end: at }
}
