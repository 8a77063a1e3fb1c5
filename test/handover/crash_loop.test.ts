import { storm } from '../support/crash_loop.js'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('peers that end a thread with each line', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('end no server: the only reactor comes back each time', () => storm({ reactors: 1, pool: 1 }, 'exit', 12))
  it('end no server of two reactors', () => storm({ reactors: 2, pool: 1 }, 'exit', 20))
  it('end no server by its pool', () => storm({ reactors: 1, pool: 2 }, 'pool exit', 20))
})
