// Every feature of a connection meets every other one, at other moments with each seed.
import { definePairs } from '../support/pair_outcomes.js'
import { Random, stormSeed } from '../support/random.js'

const rounds = 4 * Number(process.env['STORM_SCALE'] ?? 1)

describe('two features on one connection, at many moments', () => {
  const first = stormSeed()
  const random = new Random(first)
  for (let round = 0; round < rounds; round++) {
    const seed = round === 0 ? first : random.below(2 ** 31)
    describe(`STORM_SEED=${seed}`, () => definePairs(seed))
  }
})
