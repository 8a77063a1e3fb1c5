import { spawnSync } from 'node:child_process'
import { reactorCounterNames, workerCounterNames } from '@multireactor/addon'
import { prometheusText, serve } from '@multireactor/core'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

/** What the parser of Prometheus's own Python client makes of it: family, kind, samples. */
function parsed(text: string): Map<string, { kind: string; samples: [string, Record<string, string>, number][] }> {
  const program = `import sys,json
from prometheus_client.parser import text_string_to_metric_families as families
print(json.dumps([[f.name,f.type,f.documentation,[[s.name,s.labels,s.value] for s in f.samples]] for f in families(sys.stdin.read())]))`
  const { stdout, stderr, status } = spawnSync('/usr/bin/python3', ['-c', program], { input: text, encoding: 'utf8' })
  if (status !== 0) throw new Error(`Prometheus's parser fails (scripts/setup-tools.sh installs it): ${stderr}`)
  const families = JSON.parse(stdout) as [string, string, string, [string, Record<string, string>, number][]][]
  for (const [name, , help] of families) expect(help, name).to.match(/\.$/)
  return new Map(families.map(([name, kind, , samples]) => [name, { kind, samples }]))
}

describe('prometheusText()', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('has every counter, as Prometheus reads them', async () => {
    const server = await serve({ app: app('orders'), listen: { port: 0, host: '127.0.0.1' }, reactors: 2, pool: 2 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('{"id":1,"price":5,"count":3}\n')
    await client.lines(1)
    const stats = server.stats()
    const families = parsed(prometheusText(stats))
    const value = (name: string, labels: Record<string, string> = {}) =>
      families
        .get(`multireactor_${name}`)!
        .samples.filter(([, has]) => Object.entries(labels).every(([label, text]) => has[label] === text))
        .reduce((sum, [, , one]) => sum + one, 0)
    expect(value('connections_open')).to.equal(1)
    expect(value('accepted')).to.equal(1)
    expect(value('read_bytes')).to.equal(29)
    expect(value('worker_frames_settled')).to.equal(1)
    expect(value('worker_busy_seconds')).to.be.closeTo(stats.workers[0]!.busyNs / 1e9 + stats.workers[1]!.busyNs / 1e9, 1e-6)
    expect(families.get('multireactor_accepted')!.kind).to.equal('counter')
    expect(families.get('multireactor_buffered_bytes')!.kind).to.equal('gauge')
    expect(families.get('multireactor_closed')!.samples).to.have.length(2 * Object.keys(stats.connections.closed).length)
    // One family for each counter, the reasons, the queue, memory, and what the main thread adds.
    expect(families.size).to.equal(reactorCounterNames.length + workerCounterNames.length + 1 + 4 + 1 + 2)

    client.socket.end()
    await client.untilClosed()
    while (server.stats().connections.open !== 0) await new Promise(setImmediate)
    const { workersReplaced, reactorsReplaced, ...thread } = server.stats()
    expect([workersReplaced, reactorsReplaced]).to.deep.equal([0, 0])
    const later = parsed(prometheusText(thread, { prefix: 'orders' }))
    const ended = later.get('orders_closed')!.samples.filter(([, { reason }]) => reason === 'end')
    expect(ended.reduce((sum, [, , count]) => sum + count, 0)).to.equal(1)
    expect(later.has('orders_workers_replaced')).to.equal(false)
    expect(() => prometheusText(thread, { prefix: '0' }))
      .to.throw("'prefix'")
      .with.property('code', 'ERR_MR_OPTION_RANGE')
    await server.close()
  })
})
