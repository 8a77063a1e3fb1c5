// Every feature of a connection meets every other one; the storm of the same name does it with more seeds.
import { definePairs } from '../support/pair_outcomes.js'
import { stormSeed } from '../support/random.js'

describe('two features on one connection', () => {
  definePairs(stormSeed())
})
