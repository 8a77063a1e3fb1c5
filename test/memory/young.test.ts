import { constants, PerformanceObserver } from 'node:perf_hooks'
import { native } from '@multireactor/addon'
import { Reactor, raw } from '@multireactor/reactor'
import { expect } from 'chai'
import { Client } from '../support/client.js'

const slabBytes = 256 << 10
const count = 2_048

describe('slabs that nobody keeps', () => {
  it('are collected with the young of the heap', async function () {
    // A newer V8 has no such bound, or one that its bound for the whole heap comes before.
    if (Number.parseInt(process.versions.v8, 10) >= 13) this.skip()
    await using reactor = new Reactor()
    const runtime = await runtimeOf(reactor)
    // V8 collects the young at 32 MiB of them.
    expect(await youngCollections(() => native.newSlab(runtime, slabBytes))).to.be.at.least((count * slabBytes) / (64 << 20))
  })
})

/** How often V8 collects the young meanwhile. */
async function youngCollections(allocate: () => unknown): Promise<number> {
  const kinds: number[] = []
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) kinds.push((entry as unknown as { detail: { kind: number } }).detail.kind)
  })
  observer.observe({ entryTypes: ['gc'] })
  for (let i = 0; i < count; i++) {
    allocate()
    // Collected memory is given back behind the current callback.
    if (i % 16 === 0) await new Promise(setImmediate)
  }
  await new Promise(setImmediate)
  observer.disconnect()
  return kinds.filter((kind) => kind === constants.NODE_PERFORMANCE_GC_MINOR).length
}

/** The number of the runtime that a reactor has made. */
async function runtimeOf(reactor: Reactor): Promise<number> {
  const { newSlab } = native
  let runtime: number | undefined
  native.newSlab = (of, size) => {
    runtime = of
    return newSlab(of, size)
  }
  try {
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      {
        framing: raw(),
        message(conn, chunk) {
          conn.write(chunk)
        },
      },
    )
    const client = await Client.connect(port)
    client.write('a')
    await client.bytes(1)
    client.destroy()
  } finally {
    native.newSlab = newSlab
  }
  return runtime!
}
