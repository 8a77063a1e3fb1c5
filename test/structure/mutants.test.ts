import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../../', import.meta.url))

interface Mutant {
  protects: string
  file: string
  from: string
  test: string
}

describe('the table of npm run mutants', () => {
  it('names what stands in the source, exactly once', async () => {
    const { mutants } = (await import(join(root, 'scripts/mutants/table.mjs'))) as { mutants: Mutant[] }
    const stale = mutants.filter(({ file, from }) => readFileSync(join(root, file), 'utf8').split(from).length !== 2)
    expect(stale.map(({ protects, file }) => `${file}: ${protects}`)).to.deep.equal([])
    expect(mutants).to.have.length.above(60)
    const lost = mutants.filter(({ test }) => test.includes('.js: ') && !existsSync(join(root, test.split('.js: ')[0] + '.js')))
    expect(lost.map(({ test }) => test)).to.deep.equal([])
  })

  it('names C++ tests that there are', async () => {
    const { mutants } = (await import(join(root, 'scripts/mutants/table.mjs'))) as { mutants: Mutant[] }
    const native = mutants.filter(({ test }) => !test.includes('.js: '))
    const lost = native.filter(({ test }) => {
      const [room, claim] = test.split(/: (.*)/s) as [string, string]
      const file = join(root, `addon/native/test/${room}_test.cc`)
      const claims = existsSync(file)
        ? readFileSync(file, 'utf8')
            .split(/TEST\(\s*"/)
            .slice(1)
        : []
      return !claims.some((text) => text.split('"')[0]!.includes(claim))
    })
    expect(lost.map(({ test }) => test)).to.deep.equal([])
    expect(native).to.have.length.above(100)
  })
})
