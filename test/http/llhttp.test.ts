import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { HttpCases } from '../support/http_cases.js'
import { differenceOf, knownDifferences, reasonOf } from '../support/http_differences.js'
import { NodeReader, OwnReader } from '../support/http_readers.js'
import { Random } from '../support/random.js'

/** By hand: `HTTP_CASES=1000000 HTTP_SEED=2 mocha test/dist/http/llhttp.test.js`. */
const cases = Number(process.env['HTTP_CASES'] ?? 20_000)
const seed = Number(process.env['HTTP_SEED'] ?? 1)
const atOnce = 50

describe('HTTP requests, read by llhttp as well', function () {
  this.timeout(0)
  let own: OwnReader
  let node: NodeReader
  before(async () => {
    own = await new OwnReader().listen()
    node = new NodeReader()
  })
  after(async () => {
    node.close()
    await own.close()
  })

  it(`end at the same bytes, and what only one of the readers refuses is documented`, async () => {
    const generator = new HttpCases(new Random(seed))
    const reasons = new Map<string, number>()
    for (let done = 0; done < cases; done += atOnce) {
      const streams = Array.from({ length: atOnce }, () => generator.next())
      const [here, there] = await Promise.all([own.read(streams), node.read(streams)])
      for (const [i, stream] of streams.entries()) {
        const difference = differenceOf(here[i]!, there[i]!)
        if (difference === undefined) continue
        const rest = await own.behind(stream, difference.common)
        const reason = reasonOf(difference, rest)
        if (reason === undefined) {
          const what = JSON.stringify({ difference, stream, rest, own: here[i], node: there[i] }, undefined, 1)
          expect.fail(`seed ${seed}, about case ${done + i}: ${what}`)
        }
        reasons.set(reason.what, (reasons.get(reason.what) ?? 0) + 1)
      }
    }
    // A reason that nothing has any more goes from the docs. Two of them are rare.
    const rare = ['a `Content-Length` above `maxBodyBytes`', 'an `http(s)://` target whose host is none']
    const usual = knownDifferences.map(({ what }) => what).filter((what) => !rare.includes(what))
    if (cases >= 20_000) expect([...reasons.keys()]).to.include.members(usual)
  })

  it('differ as the table in docs/http.md says', () => {
    const docs = readFileSync(new URL('../../../docs/http.md', import.meta.url), 'utf8')
    const section = docs.slice(docs.indexOf('### Where llhttp decides otherwise'), docs.indexOf('## Limits'))
    const rows = [...section.matchAll(/^\| (.*?) \| (this framer|llhttp|neither) \|/gm)].map(([, what, who]) => `${what}: ${who}`)
    const who = { own: 'this framer', node: 'llhttp', 'own ends': 'neither', 'node ends': 'neither', boundary: '' }
    expect(rows).to.have.members(knownDifferences.map(({ what, stricter }) => `${what}: ${who[stricter]}`))
  })
})
