import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../../', import.meta.url))

interface Api {
  publicPackages: string[]
  readApi(): { snapshots: Map<string, string>; undocumented: string[]; counted: number }
  snapshotPath(folder: string): string
}

describe('what users may name', function () {
  this.timeout(20_000)
  let api: Api
  let read: ReturnType<Api['readApi']>

  before(async () => {
    api = (await import(join(root, 'scripts/api.mjs'))) as Api
    read = api.readApi()
  })

  it('is what docs/api says, name by name and member by member', () => {
    const differ = api.publicPackages.filter((folder) => {
      const path = api.snapshotPath(folder)
      return !existsSync(path) || readFileSync(path, 'utf8') !== read.snapshots.get(folder)
    })
    expect(
      differ,
      'the public interface has changed. If that is meant, run `node scripts/api.mjs --write`, read the difference as your users will, and name it in CHANGELOG.md',
    ).to.deep.equal([])
    expect(read.counted).to.be.above(600)
  })

  it('has a docstring', () => {
    expect(read.undocumented, 'write one: what it does, unit and default, errors, thread').to.deep.equal([])
  })

  it('names nothing of the engine', () => {
    const leaks = [...read.snapshots].flatMap(([folder, text]) =>
      text
        .split('\n')
        .filter((line) => /\b(internal|Engine|ConnectionLink|Native\w+|slot|generation|rawEnd)\b/.test(line))
        .map((line) => `${folder}: ${line}`),
    )
    // The parts of a framing are public as they are.
    expect(leaks).to.deep.equal(['reactor:   readonly native: NativeFraming'])
  })
})
