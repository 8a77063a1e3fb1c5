import { reactorCounterNames, workerCounterNames } from '@multireactor/addon'
import { prometheusText, serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { parsePrometheus, sumOf } from '../support/prometheus.js'

describe('prometheusText()', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('has every counter, as Prometheus reads them', async () => {
    const server = await serve({ app: app('orders'), listen: { port: 0, host: '127.0.0.1' }, reactors: 2, pool: 2 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('{"id":1,"price":5,"count":3}\n')
    await client.lines(1)
    const stats = server.stats()
    const families = parsePrometheus(prometheusText(stats))
    for (const [name, { help }] of families) expect(help, name).to.match(/\.$/)
    const value = (name: string) => sumOf(families, `multireactor_${name}`)
    expect(value('connections_open')).to.equal(1)
    expect(value('accepted')).to.equal(1)
    expect(value('read_bytes')).to.equal(29)
    expect(value('worker_frames_settled')).to.equal(1)
    expect(value('worker_busy_seconds')).to.be.closeTo(stats.workers[0]!.busyNs / 1e9 + stats.workers[1]!.busyNs / 1e9, 1e-6)
    expect(families.get('multireactor_accepted')!.kind).to.equal('counter')
    expect(families.get('multireactor_buffered_bytes')!.kind).to.equal('gauge')
    expect(families.get('multireactor_closed')!.samples).to.have.length(2 * Object.keys(stats.connections.closed).length)
    // One family for each counter, the reasons, the queue, memory, and those of the main thread.
    expect(families.size).to.equal(reactorCounterNames.length + workerCounterNames.length + 1 + 4 + 1 + 2)

    client.socket.end()
    await client.untilClosed()
    while (server.stats().connections.open !== 0) await new Promise(setImmediate)
    const { workersReplaced, reactorsReplaced, ...thread } = server.stats()
    expect([workersReplaced, reactorsReplaced]).to.deep.equal([0, 0])
    const later = parsePrometheus(prometheusText(thread, { prefix: 'orders' }))
    expect(sumOf(later, 'orders_closed', { reason: 'end' })).to.equal(1)
    expect(later.has('orders_workers_replaced')).to.equal(false)
    expect(() => prometheusText(thread, { prefix: '0' }))
      .to.throw("'prefix'")
      .with.property('code', 'ERR_MR_OPTION_RANGE')
    await server.close()
  })
})
