import { PieceSize } from '@multireactor/reactor/parts'
import { expect } from 'chai'

const KiB = 1 << 10

describe('the size of pieces, by what the last one took', () => {
  it('falls to what takes 1 ms, within bounds, and doubles while a whole piece takes less than a quarter of that', () => {
    const pieces = new PieceSize()
    expect(pieces.bytes).to.equal(64 * KiB)
    pieces.took(64 * KiB, 4)
    expect(pieces.bytes).to.equal(16 * KiB)
    pieces.took(16 * KiB, 100)
    expect(pieces.bytes).to.equal(4 * KiB)
    pieces.took(4 * KiB, 0.5)
    pieces.took(3 * KiB, 0.1)
    expect(pieces.bytes).to.equal(4 * KiB)
    for (const bytes of [4, 8, 16, 32, 64]) pieces.took(bytes * KiB, 0.1)
    expect(pieces.bytes).to.equal(64 * KiB)
  })

  it('outlives a single slow piece where that is pardoned: the thread may have been without a core', () => {
    const pieces = new PieceSize(16 * KiB, 1)
    for (let i = 0; i < 3; i++) {
      pieces.took(16 * KiB, 50)
      pieces.took(16 * KiB, 0.3)
    }
    expect(pieces.bytes).to.equal(16 * KiB)
    pieces.took(16 * KiB, 2)
    pieces.took(16 * KiB, 2)
    expect(pieces.bytes).to.equal(8 * KiB)
  })
})
