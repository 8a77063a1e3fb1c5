import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const folders = [
  'addon',
  'packages/reactor',
  'packages/pool',
  'packages/codecs',
  'packages/core',
  'packages/http',
  'packages/multireactor',
]

interface Manifest {
  version: string
  type: string
  scripts?: Record<string, string>
  dependencies?: Record<string, string>
  devDependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

function manifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as Manifest
}

describe('packages', () => {
  it('run nothing when they are installed', () => {
    for (const folder of folders) {
      expect(Object.keys(manifest(folder).scripts ?? {}), folder).to.not.include.members([
        'preinstall',
        'install',
        'postinstall',
        'prepare',
      ])
      // npm calls node-gyp by itself for a binding.gyp beside a package.json.
      expect(existsSync(join(root, folder, 'binding.gyp')), folder).to.equal(false)
    }
  })

  it('carry one version and depend on each other by exactly that version', () => {
    const { version } = manifest('.')
    for (const folder of folders) {
      const { version: own, dependencies = {} } = manifest(folder)
      expect(own, folder).to.equal(version)
      for (const [name, wanted] of Object.entries(dependencies)) {
        if (name.startsWith('@multireactor/')) expect(wanted, `${folder}: ${name}`).to.equal(version)
      }
    }
  })

  it('pin every dependency, and docs/decisions/0001-dependencies.md names it with its reason', () => {
    const reasons = readFileSync(join(root, 'docs/decisions/0001-dependencies.md'), 'utf8')
    for (const folder of ['.', ...folders, 'bench']) {
      const { dependencies = {}, devDependencies = {}, optionalDependencies = {} } = manifest(folder)
      for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })) {
        if (/^(@multireactor\/|multireactor$)/.test(name)) continue
        expect(version, `${folder}: ${name}`).to.match(/^\d+\.\d+\.\d+$/)
        expect(reasons, `${folder}: ${name}`).to.include(`${name} ${version}`)
      }
    }
  })
})
