import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { LiveConnection } from '@multireactor/reactor/parts'
import { expect } from 'chai'

// The size of a connection's object in docs/memory.md. That of the native one is held by the compiler (reactor/connection.h).
const documentedBytes = 120
const count = 100_000

describe('the object of a connection', () => {
  it('takes what docs/memory.md says, and a context little more', async () => {
    // Made as the engine makes them; nothing of it is called.
    const engine = { idOf: () => 0n, driver: { setHasData: () => true } }
    const listener = { name: 'any' }
    const make = (slot: number): LiveConnection<unknown> =>
      new LiveConnection(engine as never, listener as never, slot, slot + 1, undefined)
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    // The garbage of tests before this one may need more than one.
    const collect = async (): Promise<void> => {
      for (let i = 0; i < 3; i++) {
        gc()
        await new Promise(setImmediate)
      }
    }
    // V8 learns from the first few how large they are.
    const kept: LiveConnection<unknown>[] = Array.from({ length: 2 * count })
    for (let i = 0; i < count; i++) kept[i] = make(i)
    await collect()
    const before = process.memoryUsage().heapUsed
    for (let i = count; i < 2 * count; i++) kept[i] = make(i)
    await collect()
    const alone = process.memoryUsage().heapUsed
    for (let i = count; i < 2 * count; i++) kept[i]!.data = { frames: 0 }
    await collect()
    const withData = process.memoryUsage().heapUsed
    expect((alone - before) / count, 'bytes of an object').to.be.closeTo(documentedBytes, 8)
    expect((withData - alone) / count, 'bytes of its data').to.be.closeTo(32, 8)
    expect(kept).to.have.length(2 * count)
  })
})
