import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** The TypeScript blocks of a page that are whole modules, as a reader copies them. */
function modules(page: string): string[] {
  const blocks = readFileSync(join(root, page), 'utf8').matchAll(/^```ts\n([\s\S]*?)^```/gm)
  return [...blocks].map((match) => match[1]!).filter((code) => /^(import|export default) /m.test(code))
}

describe('the programs of the documentation', () => {
  let folder: string

  before(() => {
    // Inside of the repository, where the import of 'multireactor' finds the workspace.
    mkdirSync(join(root, '.cache'), { recursive: true })
    folder = mkdtempSync(join(root, '.cache/programs-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  it('compile as they stand with strict', () => {
    const pages = [
      'README.md',
      ...readdirSync(join(root, 'docs'))
        .filter((name) => name.endsWith('.md'))
        .map((name) => `docs/${name}`),
      ...readdirSync(join(root, 'packages')).map((name) => `packages/${name}/README.md`),
    ]
    const files = pages.flatMap((page) => modules(page).map((code, i) => [`${page.replace(/\W+/g, '_')}_${i}.ts`, code] as const))
    expect(files).to.have.length.above(20)
    for (const [name, code] of files) writeFileSync(join(folder, name), code)
    // No more than a reader needs.
    const compilerOptions = {
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      module: 'nodenext',
      target: 'es2022',
      types: ['node'],
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}')

    const tsc = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder, '--pretty', 'false'], {
      cwd: folder,
      encoding: 'utf8',
    })
    expect(`${tsc.stdout}${tsc.stderr}`).to.equal('')
    expect(tsc.status).to.equal(0)
  }).timeout(60_000)
})
