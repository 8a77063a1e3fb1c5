import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'

const atOnce = 16
const rounds = 200
const mostBytes = 300

describe('client connections that have closed', () => {
  it('are gone when the young of the heap are collected, and do not wait until all of it is', async () => {
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as (how?: { type: 'minor' }) => void
    const oldBytes = (): number => getHeapSpaceStatistics().find((one) => one.space_name === 'old_space')!.space_used_size
    const reactor = new Reactor()
    const { port } = await reactor.listen({ port: 0, host: '127.0.0.1' }, { message() {} })
    let opened = 0
    const connect = async (closed: () => void): Promise<void> => {
      const conn = await reactor.connect(
        { port, host: '127.0.0.1' },
        {
          // While others are under way, as V8 does it.
          open() {
            if (++opened % (4 * atOnce) === 0) gc({ type: 'minor' })
          },
          close: closed,
        },
      )
      conn.destroy()
    }
    const connectSome = async (): Promise<void> => {
      for (let i = 0; i < rounds; i++) {
        await Promise.all(Array.from({ length: atOnce }, () => new Promise<void>((resolve) => void connect(resolve))))
      }
    }
    await connectSome()
    gc()
    const before = oldBytes()
    await connectSome()
    expect((oldBytes() - before) / (rounds * atOnce), 'bytes of each').to.be.below(mostBytes)
    await reactor.close()
  }).timeout(60_000)
})
