import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { errorCodes, native, wire } from '@multireactor/addon'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../..', import.meta.url))

function sources(folder: string, ending: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => ending.test(path) && !/(^|\/)(dist|node_modules)\//.test(path))
    .map((path) => join(folder, path))
}

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

describe('the wire between C++ and TypeScript', () => {
  const ours = plain(wire) as Record<string, unknown>
  const theirs = native.wireTables()

  it('has the same tables on both sides', () => {
    expect(Object.keys(ours).sort(), 'addon/src/wire.ts and bindings/wire_tables.cc').to.deep.equal(Object.keys(theirs).sort())
  })

  for (const [name, table] of Object.entries(ours)) {
    it(`has the same ${name} on both sides`, () => {
      expect(table, `addon/src/wire.ts, against bindings/wire_tables.cc`).to.deep.equal(theirs[name])
    })
  }

  it('has a name for every event of C++', () => {
    const text = readFileSync(join(root, 'addon/native/src/reactor/event_batch.h'), 'utf8')
    const numbers = [
      ...text
        .split('enum class Event')[1]!
        .split('};')[0]!
        .matchAll(/\bk\w+\s*=\s*(\d+)/g),
    ].map(([, n]) => Number(n))
    expect(numbers).to.have.length.above(20)
    expect(Object.values(wire.event).sort((a, b) => a - b)).to.deep.equal(numbers.sort((a, b) => a - b))
  })

  it('is the only place where a row is taken apart: no number stands beside `at`', () => {
    const spelled = ['packages/reactor/src', 'packages/pool/src'].flatMap((folder) =>
      sources(folder, /\.ts$/).filter((path) => /\b(rows|samples)\[at \+ \d/.test(readFileSync(join(root, path), 'utf8'))),
    )
    // Slabs reads three columns that stand side by side in every row that has bytes.
    expect(spelled).to.deep.equal(['packages/reactor/src/slabs.ts'])
  })

  it('knows every error code that C++ throws', () => {
    const thrown = sources('addon/native/src', /\.(cc|h)$/).flatMap((path) =>
      [...readFileSync(join(root, path), 'utf8').matchAll(/ERR_MR_\w+/g)].map(([code]) => code),
    )
    expect(thrown).to.have.length.above(10)
    expect([...new Set(thrown)].filter((code) => !(code in errorCodes))).to.deep.equal([])
  })
})
