import { perMessage, partOf, readCallgrind } from '@multireactor/bench/callgrind'
import { chart } from '@multireactor/bench/chart'
import { filled } from '@multireactor/bench/document'
import { type Figure, figures, figureTable, measured, neededFor, verdict } from '@multireactor/bench/figures'
import { together } from '@multireactor/bench/kept'
import { markdown } from '@multireactor/bench/markdown'
import type { Sample } from '@multireactor/bench/rounds'
import { median, medianInterval, spreadOf } from '@multireactor/bench/statistics'
import { summarize } from '@multireactor/bench/summary'
import { candidates } from '@multireactor/bench/candidates'
import { expect } from 'chai'

function echo(server: string, round: number, cpu: number, pinned = true): Sample {
  return {
    server,
    work: 'echo',
    connections: 64,
    inFlight: 1,
    pinned,
    round,
    values: { cpu, throughput: 1e6 / cpu, p50: 10, p99: 20 },
  }
}

/** Both servers pay twice as much in every other round: the ratio stays. */
const disturbed = Array.from({ length: 15 }, (_, round) => {
  const noise = round % 2 === 0 ? 1 : 2
  return [echo('C epoll', round, 5 * noise), echo('multireactor 1+0', round, 5.25 * noise), echo('net', round, 8 * noise)]
}).flat()

const inlineEcho = figures[0]!

describe('the numbers of the bench', () => {
  it('take the middle of the values, whatever their order and number', () => {
    expect(median([3, 1, 2])).to.equal(2)
    expect(median([4, 1, 3, 2])).to.equal(2.5)
  })

  it('pair nothing of one run with anything of another', () => {
    const run = (command: string, samples: Sample[]) => ({ command, conditions: 'quiet', absent: [], samples })
    const both = together([run('first', disturbed), run('second', [echo('C epoll', 0, 50), echo('multireactor 1+0', 0, 100)])])
    expect([both.command, both.conditions]).to.deep.equal(['first\nsecond', 'quiet'])
    const spread = measured(inlineEcho, both.samples, true)!
    expect([spread.count, spread.median]).to.deep.equal([16, 1.05])
  })

  it('take the interval from the order of the values: the 4th of 15 from either end, and all of five', () => {
    const fifteen = [15, 3, 9, 1, 14, 7, 2, 12, 5, 10, 4, 13, 6, 11, 8]
    expect(medianInterval(fifteen)).to.deep.equal([4, 12])
    expect(medianInterval([5, 1, 4, 2, 3])).to.deep.equal([1, 5])
    expect(spreadOf([])).to.equal(undefined)
  })

  it('pair a server with the reference of the same round, so that a disturbed round changes no ratio', () => {
    const [one] = summarize(disturbed, ['C epoll', 'net', 'multireactor 1+0'], undefined)
    expect(one).to.include({ work: 'echo', reference: 'C epoll', metric: 'cpu', pinned: true })
    expect(one!.rows.map(({ server }) => server)).to.deep.equal(['C epoll', 'net', 'multireactor 1+0'])
    expect(one!.rows[2]!.ratio).to.deep.equal({ median: 1.05, low: 1.05, high: 1.05, count: 15 })
    expect(one!.rows[2]!.values.cpu).to.deep.equal({ median: 5.25, low: 5.25, high: 10.5, count: 15 })
    const [againstNet] = summarize(disturbed, ['C epoll', 'net', 'multireactor 1+0'], 'net')
    expect(againstNet!.rows[0]!.ratio!.median).to.equal(0.625)
  })

  it('leave a round out in which either side failed, and name the failure', () => {
    const failed = disturbed.map((sample) => {
      if (sample.round !== 3 || sample.server !== 'multireactor 1+0') return sample
      const { values: _, ...rest } = sample
      return { ...rest, failure: 'a wrong byte' }
    })
    const [one] = summarize(failed, ['C epoll', 'multireactor 1+0'], undefined)
    expect(one!.rows[1]!.ratio!.count).to.equal(14)
    expect(markdown([one!])).to.include('**multireactor 1+0 failed:** a wrong byte')
  })

  it('keep pinned and unpinned samples apart', () => {
    const both = [...disturbed, ...disturbed.map((sample) => ({ ...sample, pinned: false }))]
    expect(summarize(both, ['C epoll'], undefined).map(({ pinned }) => pinned)).to.deep.equal([true, false])
    const slower = [...disturbed, echo('C epoll', 0, 5, false), echo('multireactor 1+0', 0, 10, false)]
    expect(measured(inlineEcho, slower, true)!.median).to.equal(1.05)
    expect(measured(inlineEcho, slower, false)!.median).to.equal(2)
  })
})

describe('the table of figures', () => {
  const spread = (median: number, low: number, high: number) => ({ median, low, high, count: 15 })
  const atMost: Figure = { ...inlineEcho, target: { atMost: 1 } }
  const atLeast: Figure = { ...inlineEcho, target: { atLeast: 1 } }

  it('counts a figure as reached by its median, by its interval, or not', () => {
    expect(verdict(atMost, spread(0.9, 0.8, 1.1))).to.equal('yes')
    expect(verdict(atMost, spread(1.1, 0.96, 1.2))).to.equal('by the interval')
    expect(verdict(atMost, spread(1.1, 0.9, 1.2))).to.equal('open: too wide')
    expect(verdict(atMost, spread(1.2, 1.1, 1.3))).to.equal('no')
    expect(verdict(atLeast, spread(1.1, 0.9, 1.2))).to.equal('yes')
    expect(verdict(atLeast, spread(0.9, 0.8, 1.02))).to.equal('by the interval')
    expect(verdict(atLeast, spread(0.9, 0.8, 1.1))).to.equal('open: too wide')
    expect(verdict(atLeast, spread(0.9, 0.8, 0.95))).to.equal('no')
    expect(verdict(atMost, undefined)).to.equal('not measured')
  })

  it('shows target, median, interval and verdict of a measured figure, and says of the others that they are not measured', () => {
    const rows = figureTable(disturbed).split('\n')
    expect(rows[2]).to.include('| ≤ 1.08 | 1.05 | 1.05-1.05 | 15 | yes |')
    expect(rows[4]).to.include('| - | - | - | not measured |')
    expect(rows.filter((row) => row.startsWith('| ')).length).to.equal(2 + figures.length)
  })

  it('asks only for servers that exist and can do the work', () => {
    for (const { workload } of figures) {
      for (const server of neededFor(workload).servers) {
        expect(
          candidates.some(({ name }) => name === server),
          server,
        ).to.equal(true)
      }
    }
  })
})

describe('the output of the bench', () => {
  it('draws one bar for each server, as long as its median, with its interval and its ratio', () => {
    const svg = chart(summarize(disturbed, ['C epoll', 'multireactor 1+0'], undefined))
    const bars = [...svg.matchAll(/<rect x="\d+" y="\d+" width="([\d.]+)"/g)].map((match) => Number(match[1]))
    expect(bars).to.have.length(2)
    expect(bars[1]! / bars[0]!).to.be.closeTo(1.05, 0.002)
    expect(svg.match(/<path /g)).to.have.length(2)
    expect(svg).to.include('5.25  (1.05 x)').and.include('CPU µs/message (shorter is better)')
    expect(svg.startsWith('<svg xmlns="http://www.w3.org/2000/svg"') && svg.endsWith('</svg>\n')).to.equal(true)
  })

  it('fills the marked parts of a document, again and again, and touches nothing else', () => {
    const document = 'before\n<!-- bench:figures -->\nold\n<!-- /bench:figures -->\nafter\n'
    const once = filled(document, { figures: 'new\n' }, 'page.md')
    expect(once).to.equal('before\n<!-- bench:figures -->\nnew\n<!-- /bench:figures -->\nafter\n')
    expect(filled(once, { figures: 'new\n' }, 'page.md')).to.equal(once)
    expect(() => filled(document, { tables: 'x' }, 'page.md')).to.throw('page.md has no place for "tables"')
  })
})

describe('the costs by part', () => {
  const profile = (calls: number) => `# callgrind format
events: Ir

ob=(1) /bin/loop
fl=(1) /x/addon/native/src/net/socket.cc
fn=(1) mr::sock::receive(int)
10 ${3 * calls}
fi=(2) /x/addon/native/src/base/result.h
+1 ${calls}
fe=(1)
cfn=(2) recv
cob=(2) /lib/libc.so
calls=${calls} 0
* ${7 * calls}
ob=(2)
fl=(3) ???
fn=(2)
0 ${7 * calls}
fn=(3) start
0 1000
`

  it('are the self costs of callgrind, in the file where the code was written, without what was called', () => {
    const costs = readCallgrind(profile(2))
    expect(costs.map(({ file, function: name, instructions }) => [file.split('/').at(-1), name, instructions])).to.deep.equal([
      ['socket.cc', 'mr::sock::receive(int)', 6],
      ['result.h', 'mr::sock::receive(int)', 2],
      ['???', 'recv', 14],
      ['???', 'start', 1000],
    ])
  })

  it('are those of one message more: what a program does once cancels', () => {
    const costs = perMessage(readCallgrind(profile(100)), readCallgrind(profile(300)), 200)
    expect(costs.map((cost) => [partOf(cost), cost.instructions])).to.deep.equal([
      ["the C library's way into the kernel", 7],
      ['`net`', 3],
      ['`base`', 1],
    ])
  })

  it('refuse what callgrind has not written', () => {
    expect(() => readCallgrind('nonsense')).to.throw('no output of callgrind')
  })
})
