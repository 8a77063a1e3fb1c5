import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { packages } from './packed.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** The files of a tarball. */
function filesOf(folder: string): string[] {
  const out = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: folder, encoding: 'utf8' })
  const [{ files }] = JSON.parse(out) as [{ files: { path: string }[] }]
  return files.map(({ path }) => path)
}

const anchorsOf = (text: string): string[] =>
  [...text.matchAll(/^#+ (.*)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replace(/ /g, '-'),
  )

describe('the pages of a package on npm', () => {
  for (const [name, source] of Object.entries(packages)) {
    it(`of ${name} have no link to what its tarball does not have`, () => {
      const folder = join(root, source)
      const files = filesOf(folder)
      const read = (path: string): string => readFileSync(join(folder, path), 'utf8')
      const dead = files
        .filter((path) => path.endsWith('.md'))
        .flatMap((page) =>
          [...read(page).matchAll(/\]\(([^)\s]+)\)/g)]
            .map((match) => match[1]!)
            .filter((link) => !/^\w+:/.test(link))
            .filter((link) => {
              const [path = '', anchor] = link.split('#')
              const target = path === '' ? page : join(dirname(page), path)
              return !files.includes(target) || (anchor !== undefined && !anchorsOf(read(target)).includes(anchor))
            })
            .map((link) => `${page}: ${link}`),
        )
      expect(dead).to.deep.equal([])
    })
  }

  it('hold the documentation, in the package that people install', () => {
    const files = filesOf(join(root, 'packages/multireactor'))
    expect(files).to.include.members(['README.md', 'docs/overview.md', 'docs/http.md', 'docs/decisions/0001-dependencies.md'])
  })
})
