import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const { writeUnity } = (await import(new URL('scripts/build-native.mjs', `file://${root}`).href)) as {
  writeUnity(folder: string): void
}

/** `npm start` compiles a room as one unit, where two files must not have the same name for different things. */
describe('the units of npm start', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'mr-unity-'))
    writeUnity(folder)
  })
  after(() => rmSync(folder, { recursive: true }))

  it('hold every source once', () => {
    const included = readdirSync(folder).flatMap((file) =>
      [...readFileSync(join(folder, file), 'utf8').matchAll(/^#include "(.*)"$/gm)].map((match) => match[1]!),
    )
    const source = join(root, 'addon/native/src')
    const all = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.cc'))
    expect(included.sort()).to.deep.equal(all.map((file) => join(source, file)).sort())
  })

  it('compile', function () {
    this.timeout(600_000)
    const headers = join(dirname(dirname(process.execPath)), 'include/node')
    if (!existsSync(join(headers, 'node_api.h'))) this.skip()
    const gyp = readFileSync(join(root, 'addon/native/binding.gyp'), 'utf8')
    const defines = [...gyp.matchAll(/'((?:NAPI|NODE)_[A-Z_]+(?:=\d+)?)'/g)].map((match) => `-D${match[1]}`)
    expect(defines).to.have.length.above(3)
    const includes = ['addon/native/src', 'node_modules/node-addon-api'].map((path) => `-I${join(root, path)}`)
    const flags = [
      '-std=c++20',
      '-fsyntax-only',
      '-w',
      ...defines,
      ...includes,
      `-I${headers}`,
      '-DNODE_GYP_MODULE_NAME=multireactor',
    ]
    for (const file of readdirSync(folder)) {
      const { stderr, status } = spawnSync('g++', [...flags, join(folder, file)], { encoding: 'utf8' })
      expect(status, stderr).to.equal(0)
    }
  })
})
