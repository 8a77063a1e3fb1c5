import { storm } from '../support/crash_loop.js'

describe('200 peers that end a thread with each line', () => {
  it('do not end a server of one reactor', () => storm({ reactors: 1, pool: 1 }, 'exit', 200)).timeout(600_000)
  it('do not end a server of two reactors', () => storm({ reactors: 2, pool: 1 }, 'exit', 200)).timeout(600_000)
  it('do not end the pool', () => storm({ reactors: 1, pool: 2 }, 'pool exit', 200)).timeout(600_000)
})
