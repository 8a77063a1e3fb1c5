import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

interface Count {
  lines: number
  begins: number
  carries: number
}

const root = fileURLToPath(new URL('../../../', import.meta.url))
const { countComments, countProse, countWords, tooMany } = (await import(join(root, 'scripts/check-words.mjs'))) as {
  countComments(source: string): Count
  countProse(page: string): Count
  countWords(): Record<'comments' | 'prose', Count>
  tooMany(counts: Record<string, Count>, most?: Record<string, Partial<Count>>): string[]
}

const shares = ({ lines, begins, carries }: Count) => ({ lines, begins, carries })

describe('the words of comments and pages', () => {
  it('name things, and stay below the ceilings for clauses in their place', () => {
    expect(tooMany(countWords())).to.deep.equal([])
  })

  it('are counted in comments of both languages, and not in code', () => {
    const source = [
      '// Closes the connection.',
      '  /** Whoever sends more is closed. */',
      'const who = what // the rest, for nobody',
      '',
    ]
    expect(shares(countComments(source.join('\n')))).to.deep.equal({ lines: 3, begins: 1, carries: 2 })
    expect(shares(countComments('#include "what.h"\nint a;  // the peer: who sends\n'))).to.deep.equal({
      lines: 1,
      begins: 1,
      carries: 1,
    })
  })

  it('are counted in prose and tables, and not in code', () => {
    const page = ['# What it costs', 'Send what `who` gives.', '```ts', '// what', '```', '| `a` | who waits |', '']
    expect(shares(countProse(page.join('\n')))).to.deep.equal({ lines: 3, begins: 2, carries: 3 })
  })

  it('fail above a ceiling, with the share that is exceeded', () => {
    const counts = { comments: { lines: 100, begins: 2, carries: 3 } }
    expect(tooMany(counts, { comments: { begins: 0.02, carries: 0.02 } })).to.deep.equal([
      'comments: 3 of 100 lines (carries) are more than 2 %',
    ])
  })
})
