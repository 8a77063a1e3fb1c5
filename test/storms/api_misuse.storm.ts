import { expect } from 'chai'
import { runSequences } from '../misuse/run.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { stormSeed } from '../support/random.js'

const sequences = 2_000

describe('random misuse of everything that serve, Reactor, Pool and their connections have', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it(`${sequences} sequences abort nothing, hang nowhere, throw coded errors only, and send no byte astray`, async () => {
    const failures = await runSequences(stormSeed(), sequences, console.log)
    expect(failures).to.deep.equal([])
  })
})
