import { expect } from 'chai'
import { endsOf, halfClose, kinds, type Try } from '../support/half_close_kinds.js'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('a request with its end behind it is answered, 100 of 100 times', function () {
  // Threads start slowly where others need the cores.
  this.timeout(240_000)
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(() => expectNothingLeft(before))

  for (const kind of kinds) {
    const ends = endsOf(kind)
    const tries = Array.from(
      { length: 100 },
      (_, i): Try => [i % 4 === 0 ? 'large' : 'small', ends[(i + (i >> 2)) % ends.length]!],
    )
    it(`by ${kind.name}`, async () => expect(await halfClose(kind, tries, false)).to.deep.equal([]))
    it(`by ${kind.name}, through a reload`, async () => expect(await halfClose(kind, tries, true)).to.deep.equal([]))
  }
})
